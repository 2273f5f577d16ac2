// SPDX-License-Identifier: Apache-2.0
// What outlives the daemon and its machine: VMs and their newest events, in SQLite.
//
// The database is in WAL mode and synchronous=FULL: a Write that was answered with OK is there
// after a crash and after a loss of power, and one that was not is there whole or not at all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trapline/record/v1/record.pb.h"
#include "trapline/v1/vms.pb.h"

struct sqlite3;

namespace trapline::daemon {

// What is written at once.
struct StoreChange {
  std::vector<record::v1::VmRecord> put{};  // vm.name is the key
  std::vector<std::string> erase{};         // names
  std::vector<v1::VmEvent> events{};        // sequence is the key
};

// Thread-safe (SQLite's serialised mode), but one writes at a time.
class Store {
 public:
  static constexpr int kEventsKept = 8192;

  // Makes the file and its tables where they are missing, and takes over what an older build left.
  // FAILED_PRECONDITION: a newer build's. UNAVAILABLE with SQLite's reason.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path);
  ~Store();

  // All of it, or nothing. RESOURCE_EXHAUSTED: there is no room; UNAVAILABLE with SQLite's reason.
  absl::Status Write(const StoreChange& change);
  // In the order of their names.
  absl::StatusOr<std::vector<record::v1::VmRecord>> Records();
  // The newest kEventsKept, oldest first.
  absl::StatusOr<std::vector<v1::VmEvent>> Events();
  // Of this database alone: what its events are told apart by from another's.
  const std::string& epoch() const { return epoch_; }

 private:
  explicit Store(sqlite3* db) : db_(db) {}
  absl::Status Prepare();
  absl::Status TakeOverFirstFormat();
  absl::Status WriteParts(const StoreChange& change);
  absl::Status Run(const std::string& sql, const std::vector<std::string>& arguments);
  absl::StatusOr<std::vector<std::string>> Column(const std::string& sql);
  absl::Status Failed(const std::string& what);

  sqlite3* db_;
  std::string path_, epoch_;
};

}  // namespace trapline::daemon
