// SPDX-License-Identifier: Apache-2.0
// One table: the VM's name and its serialised definition.
#include "daemon/control/store.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

constexpr int kBusyMilliseconds = 5000;

absl::Status Failed(sqlite3* db, const std::string& what) {
  return absl::UnavailableError(
      absl::StrCat("the state database: ", what, ": ", db ? sqlite3_errmsg(db) : "out of memory"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& path) {
  sqlite3* db = nullptr;
  int opened =
      sqlite3_open_v2(path.c_str(), &db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  auto store = std::unique_ptr<Store>(new Store(db));
  if (opened != SQLITE_OK) return Failed(db, absl::StrCat("opening ", path));
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  for (const char* sql :
       {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
        "CREATE TABLE IF NOT EXISTS vms (name TEXT PRIMARY KEY, vm BLOB NOT NULL)"}) {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return Failed(db, sql);
  }
  return store;
}

Store::~Store() { sqlite3_close(db_); }

absl::Status Store::Run(const std::string& sql, const std::vector<std::string>& arguments) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
    return Failed(db_, sql);
  for (size_t i = 0; i < arguments.size(); ++i) {
    sqlite3_bind_blob(statement, static_cast<int>(i) + 1, arguments[i].data(),
                      static_cast<int>(arguments[i].size()), SQLITE_STATIC);
  }
  int result = sqlite3_step(statement);
  absl::Status status = result == SQLITE_DONE ? absl::OkStatus() : Failed(db_, sql);
  sqlite3_finalize(statement);
  return status;
}

absl::Status Store::Put(const v1::Vm& vm) {
  return Run("INSERT OR REPLACE INTO vms (name, vm) VALUES (CAST(? AS TEXT), ?)",
             {vm.name(), vm.SerializeAsString()});
}

absl::Status Store::Delete(const std::string& name) {
  return Run("DELETE FROM vms WHERE name = CAST(? AS TEXT)", {name});
}

absl::StatusOr<std::vector<v1::Vm>> Store::All() {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, "SELECT vm FROM vms ORDER BY name", -1, &statement, nullptr) !=
      SQLITE_OK)
    return Failed(db_, "listing");
  std::vector<v1::Vm> vms;
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    v1::Vm vm;
    if (vm.ParseFromArray(sqlite3_column_blob(statement, 0), sqlite3_column_bytes(statement, 0)))
      vms.push_back(std::move(vm));
  }
  absl::Status status = result == SQLITE_DONE ? absl::OkStatus() : Failed(db_, "listing");
  sqlite3_finalize(statement);
  if (!status.ok()) return status;
  return vms;
}

}  // namespace trapline::daemon
