// SPDX-License-Identifier: Apache-2.0
// Text as a JSON string.
#include "cli/trace/json_text.h"

#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace trapline::cli {

std::string Quoted(absl::string_view text) {
  google::protobuf::Value value;
  value.set_string_value(std::string(text));
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(value, &json);
  return json;
}

void AppendQuoted(absl::string_view ascii, std::string& out) {
  out.push_back('"');
  for (const char c : ascii) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

}  // namespace trapline::cli
