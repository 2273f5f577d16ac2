// SPDX-License-Identifier: Apache-2.0
// The API's values as people read them.
#include "cli/names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace trapline::cli {

std::string ShortName(absl::string_view value_name, absl::string_view prefix) {
  absl::ConsumePrefix(&value_name, prefix);
  return value_name == "UNSPECIFIED" ? "" : absl::AsciiStrToLower(value_name);
}

std::string TechniqueName(v1::Technique technique) {
  return ShortName(v1::Technique_Name(technique), "TECHNIQUE_");
}

std::string EngineName(v1::Engine engine) { return ShortName(v1::Engine_Name(engine), "ENGINE_"); }

std::string PolicyText(const v1::Policy& policy) {
  std::string text = TechniqueName(policy.limit());
  if (policy.interrupt_after() != 0)
    absl::StrAppend(&text, ", patched after ", policy.interrupt_after(), " traps");
  if (policy.linked_after() != 0)
    absl::StrAppend(&text, ", linked after ", policy.linked_after(), " calls");
  return text;
}

}  // namespace trapline::cli
