// SPDX-License-Identifier: Apache-2.0
// What outlives the daemon and its machine: VMs and their newest events, in SQLite.
//
// The database is in WAL mode and synchronous=FULL: a Write that was answered with OK is there
// after a crash and after a loss of power, and one that was not is there whole or not at all.
#pragma once

#include <array>
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

struct StoredRecords {
  std::vector<record::v1::VmRecord> records;  // in the order of their names
  // Names whose records are damaged. They stay as they are until their names are erased or put.
  std::vector<std::string> unreadable;
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
  // What cannot be read is logged.
  absl::StatusOr<StoredRecords> Records();
  // The newest kEventsKept, oldest first, without those that cannot be read.
  absl::StatusOr<std::vector<v1::VmEvent>> Events();
  // Of this database alone: what its events are told apart by from another's.
  const std::string& epoch() const { return epoch_; }

 private:
  explicit Store(sqlite3* db) : db_(db) {}
  absl::Status Prepare();
  absl::Status TakeOverFirstFormat();
  absl::Status WriteParts(const StoreChange& change);
  absl::Status Put(const std::string& name, const std::string& record);
  absl::Status Run(const std::string& sql, const std::vector<std::string>& arguments);
  // The first columns of all rows.
  template <size_t columns>
  absl::StatusOr<std::vector<std::array<std::string, columns>>> Rows(const std::string& sql);
  absl::StatusOr<std::vector<std::string>> Column(const std::string& sql);
  absl::Status Failed(const std::string& what);

  sqlite3* db_;
  std::string path_, epoch_;
};

}  // namespace trapline::daemon
