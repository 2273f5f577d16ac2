// SPDX-License-Identifier: Apache-2.0
// What a command prints.
#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "cli/status.h"
#include "cli/terminal.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace trapline::cli {
namespace {

using google::protobuf::Value;

constexpr std::array<std::pair<Format, absl::string_view>, 4> kFormatNames = {{
    {Format::kTable, "table"},
    {Format::kJson, "json"},
    {Format::kYaml, "yaml"},
    {Format::kName, "name"},
}};

bool Allows(Formats formats, Format format) {
  return (formats & static_cast<Formats>(format)) != 0;
}

std::string ScalarJson(const Value& value) {
  std::string out;
  (void)google::protobuf::util::MessageToJsonString(value, &out);
  return out;
}

void AppendYaml(const Value& value, int indent, std::string& out);

// A value after "key:" or "-": scalars and empty collections stay on the line.
void AppendYamlAfter(const Value& value, int indent, std::string& out) {
  const bool empty_struct = value.has_struct_value() && value.struct_value().fields().empty();
  const bool empty_list = value.has_list_value() && value.list_value().values().empty();
  if (empty_struct) {
    absl::StrAppend(&out, " {}\n");
  } else if (empty_list) {
    absl::StrAppend(&out, " []\n");
  } else if (value.has_struct_value() || value.has_list_value()) {
    absl::StrAppend(&out, "\n");
    AppendYaml(value, indent, out);
  } else {
    // Every JSON scalar is a YAML scalar, and a quoted string needs no guessing.
    absl::StrAppend(&out, " ", ScalarJson(value), "\n");
  }
}

void AppendYaml(const Value& value, int indent, std::string& out) {
  const std::string margin(indent, ' ');
  if (value.has_list_value()) {
    for (const Value& item : value.list_value().values()) {
      absl::StrAppend(&out, margin, "-");
      AppendYamlAfter(item, indent + 2, out);
    }
    return;
  }
  const auto& fields = value.struct_value().fields();
  for (const auto& [key, field] : std::map<std::string, Value>(fields.begin(), fields.end())) {
    // A key that is no plain word (a label's, say) is quoted.
    Value quoted;
    quoted.set_string_value(key);
    const bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
      return absl::ascii_isalnum(static_cast<unsigned char>(c));
    }) && absl::ascii_isalpha(static_cast<unsigned char>(key.front()));
    absl::StrAppend(&out, margin, plain ? key : ScalarJson(quoted), ":");
    AppendYamlAfter(field, indent + 2, out);
  }
}

}  // namespace

std::string FormatNames(Formats formats) {
  std::vector<absl::string_view> names;
  for (const auto& [format, name] : kFormatNames) {
    if (Allows(formats, format)) names.push_back(name);
  }
  return absl::StrJoin(names, "|");
}

absl::Status ParseFormat(absl::string_view name, Formats allowed, Format& format) {
  for (const auto& [candidate, candidate_name] : kFormatNames) {
    if (name != candidate_name || !Allows(allowed, candidate)) continue;
    format = candidate;
    return absl::OkStatus();
  }
  return UsageError("--output",
                    absl::StrCat("'", name, "' is not to be had from this command; it prints ",
                                 FormatNames(allowed)));
}

std::string ToJson(const google::protobuf::Message& message, bool indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indented;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!json.empty() && json.back() != '\n') json.push_back('\n');
  return json;
}

std::string ToYaml(const google::protobuf::Message& message) {
  Value value;
  (void)google::protobuf::util::JsonStringToMessage(ToJson(message, false), &value);
  std::string out;
  AppendYaml(value, 0, out);
  return out;
}

absl::Status Output::Text(absl::string_view text) const { return WriteAll(STDOUT_FILENO, text); }

absl::Status Output::Document(const google::protobuf::Message& message) const {
  return Text(format_ == Format::kYaml ? ToYaml(message) : ToJson(message, true));
}

absl::Status Output::JsonLine(const google::protobuf::Message& message) const {
  return Text(ToJson(message, false));
}

}  // namespace trapline::cli
