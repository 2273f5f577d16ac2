// SPDX-License-Identifier: Apache-2.0
// The API's values as people read them.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "trapline/v1/common.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

// An enum's value name without the enum's own prefix, in lower case: ENGINE_SOFT -> "soft"; "" for
// UNSPECIFIED.
std::string ShortName(absl::string_view value_name, absl::string_view prefix);

std::string TechniqueName(v1::Technique technique);
std::string EngineName(v1::Engine engine);

// "linked, patched after 1 traps, linked after 16 calls"
std::string PolicyText(const v1::Policy& policy);

}  // namespace trapline::cli
