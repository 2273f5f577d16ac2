// SPDX-License-Identifier: Apache-2.0
// The API's values as people read them.
#include "cli/names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "cli/units.h"

namespace trapline::cli {

Cell StateCell(v1::Vm::State state) {
  Colour colour = Colour::kPlain;
  switch (state) {
    case v1::Vm::RUNNING:
      colour = Colour::kGreen;
      break;
    case v1::Vm::PAUSED:
      colour = Colour::kYellow;
      break;
    case v1::Vm::FAILED:
      colour = Colour::kRed;
      break;
    default:
      break;
  }
  return Cell(ShortName(v1::Vm::State_Name(state), "STATE_"), colour);
}

Cell MeasureCell(const v1::Confinement::Measure& measure) {
  const bool applied = measure.state() == v1::Confinement::Measure::APPLIED;
  const std::string state =
      applied
          ? ""
          : absl::StrCat(ShortName(v1::Confinement::Measure::State_Name(measure.state()), "STATE_"),
                         ": ");
  return Cell(absl::StrCat(measure.name(), ": ", state, measure.detail()),
              applied ? Colour::kPlain : Colour::kYellow);
}

std::string ShortName(absl::string_view value_name, absl::string_view prefix) {
  absl::ConsumePrefix(&value_name, prefix);
  return value_name == "UNSPECIFIED" ? "" : absl::AsciiStrToLower(value_name);
}

v1::Technique TechniqueOf(absl::string_view name) {
  v1::Technique technique = v1::TECHNIQUE_UNSPECIFIED;
  (void)v1::Technique_Parse(absl::StrCat("TECHNIQUE_", absl::AsciiStrToUpper(name)), &technique);
  return technique;
}

v1::Engine EngineOf(absl::string_view name) {
  v1::Engine engine = v1::ENGINE_UNSPECIFIED;
  (void)v1::Engine_Parse(absl::StrCat("ENGINE_", absl::AsciiStrToUpper(name)), &engine);
  return engine;
}

std::string TechniqueName(v1::Technique technique) {
  return ShortName(v1::Technique_Name(technique), "TECHNIQUE_");
}

std::string EngineName(v1::Engine engine) { return ShortName(v1::Engine_Name(engine), "ENGINE_"); }

v1::Vm::State StateOf(absl::string_view name) {
  v1::Vm::State state = v1::Vm::STATE_UNSPECIFIED;
  (void)v1::Vm::State_Parse(absl::AsciiStrToUpper(name), &state);
  return state;
}

std::string PolicyText(const v1::Policy& policy) {
  std::string text = TechniqueName(policy.limit());
  if (policy.interrupt_after() != 0)
    absl::StrAppend(&text, ", patched after ", policy.interrupt_after(), " traps");
  if (policy.linked_after() != 0)
    absl::StrAppend(&text, ", linked after ", policy.linked_after(), " calls");
  return text;
}

std::string EventKindName(v1::VmEvent::Kind kind) {
  return absl::StrReplaceAll(ShortName(v1::VmEvent::Kind_Name(kind), "KIND_"), {{"_", " "}});
}

std::string AgeOf(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "";
  return Age(absl::Now() - ToAbsl(time));
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", ToAbsl(time), absl::UTCTimeZone());
}

absl::Time ToAbsl(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string GuestTime(const google::protobuf::Duration& time) {
  return absl::StrFormat("%d.%06d s", time.seconds(), time.nanos() / 1000);
}

std::string LastSegment(absl::string_view resource_name) {
  return std::string(resource_name.substr(resource_name.rfind('/') + 1));
}

}  // namespace trapline::cli
