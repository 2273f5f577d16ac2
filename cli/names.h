// SPDX-License-Identifier: Apache-2.0
// The API's values as people read them: states, engines, techniques, policies, times.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/table.h"
#include "trapline/v1/common.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

// "RUNNING" in the colour of that state.
Cell StateCell(v1::Vm::State state);

// The state of that name ("running"); UNSPECIFIED for others.
v1::Vm::State StateOf(absl::string_view name);

// An enum's value name without the enum's own prefix, in lower case: ENGINE_SOFT -> "soft"; "" for
// UNSPECIFIED.
std::string ShortName(absl::string_view value_name, absl::string_view prefix);

// The value of a flag like --technique linked; the flag itself only admits names that exist.
v1::Technique TechniqueOf(absl::string_view name);
v1::Engine EngineOf(absl::string_view name);
std::string TechniqueName(v1::Technique technique);
std::string EngineName(v1::Engine engine);

// "linked, patched after 1 traps, linked after 16 calls"
std::string PolicyText(const v1::Policy& policy);

// "root: nothing but /run/trapline/vms/a", "cgroup: unavailable: ..."
Cell MeasureCell(const v1::Confinement::Measure& measure);

// "GUEST_POWER_OFF" -> "guest power off".
std::string EventKindName(v1::VmEvent::Kind kind);

// How long ago the API's timestamp was; "" for none.
std::string AgeOf(const google::protobuf::Timestamp& time);

// "2026-11-23T13:51:38.123Z".
std::string TimeText(const google::protobuf::Timestamp& time);

absl::Time ToAbsl(const google::protobuf::Timestamp& time);

// "0.001500 s"
std::string GuestTime(const google::protobuf::Duration& time);

// "vms/debian" -> "debian"; "vms/debian/sites/0x1000" -> "0x1000".
std::string LastSegment(absl::string_view resource_name);

}  // namespace trapline::cli
