// SPDX-License-Identifier: Apache-2.0
// VM definitions on disk: SQLite in WAL mode, so that what was acknowledged is there after a crash.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trapline/v1/vms.pb.h"

struct sqlite3;

namespace trapline::daemon {

// Thread-safe (SQLite's serialised mode).
class Store {
 public:
  // Makes the file and its table where they are missing. UNAVAILABLE with SQLite's reason.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path);
  ~Store();

  // Inserts or replaces; vm.name is the key.
  absl::Status Put(const v1::Vm& vm);
  absl::Status Delete(const std::string& name);
  absl::StatusOr<std::vector<v1::Vm>> All();

 private:
  explicit Store(sqlite3* db) : db_(db) {}
  absl::Status Run(const std::string& sql, const std::vector<std::string>& arguments);
  sqlite3* db_;
};

}  // namespace trapline::daemon
