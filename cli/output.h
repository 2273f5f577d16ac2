// SPDX-License-Identifier: Apache-2.0
// What a command prints: tables for people, the API's own JSON (or the same as YAML) and bare names
// for scripts.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace trapline::cli {

enum class Format : unsigned { kTable = 1, kJson = 2, kYaml = 4, kName = 8 };

// A set of formats: what a command can print.
using Formats = unsigned;
constexpr Formats operator|(Format a, Format b) {
  return static_cast<Formats>(a) | static_cast<Formats>(b);
}
constexpr Formats operator|(Formats a, Format b) { return a | static_cast<Formats>(b); }
constexpr Formats kDocumentFormats = Format::kTable | Format::kJson | Format::kYaml;
constexpr Formats kListFormats = kDocumentFormats | Format::kName;
constexpr Formats kStreamFormats = Format::kTable | Format::kJson;

// "table|json|yaml", as --help shows it.
std::string FormatNames(Formats formats);

// The format of that name, if it is one of these; else INVALID_ARGUMENT that lists them.
absl::Status ParseFormat(absl::string_view name, Formats allowed, Format& format);

// Protobuf's JSON: lowerCamel names, 64-bit numbers as strings, zero values there, times in RFC
// 3339. `indented` for one document, without it one line for JSON Lines.
std::string ToJson(const google::protobuf::Message& message, bool indented);

// The same document as YAML.
std::string ToYaml(const google::protobuf::Message& message);

// Standard output as one command uses it.
class Output {
 public:
  Output(Format format, bool colour) : format_(format), colour_(colour) {}

  Format format() const { return format_; }
  bool people() const { return format_ == Format::kTable; }
  bool colour() const { return colour_; }

  // A status that IsReaderGone knows where nobody reads.
  absl::Status Text(absl::string_view text) const;
  // One document, as JSON or YAML; not for kTable and kName.
  absl::Status Document(const google::protobuf::Message& message) const;
  // One line of a stream, as JSON.
  absl::Status JsonLine(const google::protobuf::Message& message) const;

 private:
  Format format_;
  bool colour_;
};

}  // namespace trapline::cli
