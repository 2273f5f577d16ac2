// SPDX-License-Identifier: Apache-2.0
// A VM's ledger as a file: one JSON document, the API's own SiteLedger.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/staged_file.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

// Writes a SiteLedger whose sites are not all at hand at once: a site or a transition a line, so
// that other tools can compare such files too.
class LedgerWriter {
 public:
  explicit LedgerWriter(Sink sink) : sink_(std::move(sink)) {}

  // Of `head`, its vm, time, version and totals. Then the sites, then the transitions, then End.
  absl::Status Begin(const v1::SiteLedger& head);
  absl::Status Add(const v1::Site& site);
  absl::Status Add(const v1::SiteTransition& transition);
  absl::Status End(uint64_t lost);

 private:
  absl::Status AddElement(const google::protobuf::Message& element);
  absl::Status EndSites();

  Sink sink_;
  bool sites_ended_ = false;
  bool first_ = true;  // of its list
};

// Larger files are refused.
constexpr size_t kMaxLedgerBytes = size_t{512} << 20;

// A ledger from anybody: INVALID_ARGUMENT says what is wrong with it. Fields that a later version
// may have written are passed over. `source` names it in errors.
absl::StatusOr<v1::SiteLedger> ParseLedger(absl::string_view source, absl::string_view json);
// NOT_FOUND where there is no such file.
absl::StatusOr<v1::SiteLedger> ReadLedger(const std::string& path);

}  // namespace trapline::cli
