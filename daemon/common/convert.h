// SPDX-License-Identifier: Apache-2.0
// Between the core's types and the API's.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "core/engine/direct/probe.h"
#include "core/hypercall/policy.h"
#include "core/hypercall/site.h"
#include "core/hypercall/stats_reader.h"
#include "core/x86/registers.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "trapline/v1/host.pb.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/traces.pb.h"
#include "trapline/v1/vms.pb.h"
#include "trapline/worker/v1/worker.pb.h"

namespace trapline::daemon {

v1::Technique ToProto(hypercall::Technique technique);
// EMULATE for a trap.
v1::Technique ToProto(hypercall::Path path);
v1::Policy ToProto(const hypercall::Policy& policy);
// Zero fields mean the defaults; nothing for a limit that is no limit.
std::optional<hypercall::Policy> FromProto(const v1::Policy& policy);
// vm is the VM's id.
v1::Site ToProto(const std::string& vm, const hypercall::SiteView& site);
v1::SiteTotals ToProto(const hypercall::SiteSums& sums);
v1::SiteTransition ToProto(const std::string& vm, const hypercall::SiteTransition& transition,
                           const hypercall::SiteView& site, uint64_t start_realtime_ns);
v1::TraceRecord ToProto(const std::string& vm, const hypercall::TraceEvent& event, uint64_t gpa,
                        uint64_t start_realtime_ns);
v1::Registers ToProto(const x86::Registers& registers);
v1::TrapBehaviour ToProto(const engine::direct::TrapResult& trap);
worker::v1::HostProbe ToProto(const engine::direct::HostProbe& probe);
engine::direct::HostProbe FromProto(const worker::v1::HostProbe& probe);

google::protobuf::Duration DurationOf(uint64_t nanoseconds);
google::protobuf::Timestamp TimestampOf(uint64_t nanoseconds_since_1970);
google::protobuf::Timestamp Now();
absl::Time ToAbsl(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp FromAbsl(absl::Time time);

// "0x1f80".
std::string Hex(uint64_t value);
// vms/{vm}/sites/{gpa}.
std::string SiteName(const std::string& vm, uint64_t gpa);

}  // namespace trapline::daemon
