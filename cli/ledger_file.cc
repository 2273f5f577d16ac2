// SPDX-License-Identifier: Apache-2.0
// A VM's ledger as a file.
#include "cli/ledger_file.h"

#include <errno.h>
#include <string.h>

#include <filesystem>
#include <fstream>
#include <system_error>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/units.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/wrappers.pb.h"

namespace trapline::cli {
namespace {

constexpr int kMaxInstructionBytes = 15;

// On one line, without its end.
std::string Json(const google::protobuf::Message& message) {
  return std::string(absl::StripSuffix(ToJson(message, false), "\n"));
}

// What no ledger of ours has; empty where all is well.
std::string WrongWith(const v1::SiteLedger& ledger) {
  if (ledger.vm().name().empty()) return "it names no VM, so it is no site ledger";
  std::unordered_set<std::string> names;
  for (const v1::Site& site : ledger.sites()) {
    if (site.name().empty()) return "a site of it has no name";
    if (!names.insert(site.name()).second)
      return absl::StrCat("it has ", site.name(), " more than once");
    if (site.original().size() > kMaxInstructionBytes ||
        site.current().size() > kMaxInstructionBytes)
      return absl::StrCat(site.name(), " is longer than any instruction");
  }
  return "";
}

}  // namespace

absl::Status LedgerWriter::Begin(const v1::SiteLedger& head) {
  google::protobuf::StringValue version;
  version.set_value(head.version());
  return sink_(absl::StrCat("{\n\"vm\": ", Json(head.vm()), ",\n\"time\": ", Json(head.time()),
                            ",\n\"version\": ", Json(version),
                            ",\n\"totals\": ", Json(head.totals()), ",\n\"sites\": ["));
}

absl::Status LedgerWriter::AddElement(const google::protobuf::Message& element) {
  return sink_(absl::StrCat(std::exchange(first_, false) ? "\n" : ",\n", Json(element)));
}

absl::Status LedgerWriter::EndSites() {
  if (std::exchange(sites_ended_, true)) return absl::OkStatus();
  first_ = true;
  return sink_("\n],\n\"transitions\": [");
}

absl::Status LedgerWriter::Add(const v1::Site& site) { return AddElement(site); }

absl::Status LedgerWriter::Add(const v1::SiteTransition& transition) {
  const absl::Status status = EndSites();
  return status.ok() ? AddElement(transition) : status;
}

absl::Status LedgerWriter::End(uint64_t lost) {
  const absl::Status status = EndSites();
  return status.ok() ? sink_(absl::StrCat("\n],\n\"lost\": \"", lost, "\"\n}\n")) : status;
}

absl::StatusOr<v1::SiteLedger> ParseLedger(absl::string_view source, absl::string_view json) {
  v1::SiteLedger ledger;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &ledger, options);
  const std::string wrong = parsed.ok()
                                ? WrongWith(ledger)
                                : std::string(parsed.message().data(), parsed.message().size());
  if (wrong.empty()) return ledger;
  return WithHint(absl::InvalidArgumentError(absl::StrCat(source, ": ", wrong)),
                  "'trapline sites export VM --file FILE' writes such files");
}

absl::StatusOr<v1::SiteLedger> ReadLedger(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return absl::InvalidArgumentError(absl::StrCat(path, " is a folder"));
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path, ": ", strerror(errno)));
  std::string json;
  // Read by pieces, since a pipe has no size to go by.
  std::string piece(size_t{1} << 20, '\0');
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    json.append(piece, 0, static_cast<size_t>(file.gcount()));
    if (json.size() > kMaxLedgerBytes)
      return absl::InvalidArgumentError(absl::StrCat(
          path, " is larger than ", FormatSize(kMaxLedgerBytes), ", the most there may be"));
  }
  return ParseLedger(path, json);
}

}  // namespace trapline::cli
