// SPDX-License-Identifier: Apache-2.0
// Messages of any type out of a fuzzer's input, field by field as its descriptor has them.
#pragma once

#include <span>
#include <string>

#include "google/protobuf/message.h"
#include "tests/fuzz/input.h"

namespace trapline {

// words: what strings are often made of (names of what is there, filters, paths); not empty.
void FillMessage(Input& input, std::span<const std::string> words,
                 google::protobuf::Message* message);

}  // namespace trapline
