// SPDX-License-Identifier: Apache-2.0
// Databases of other builds.
#include "daemon/control/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/control/scratch.h"

namespace trapline::daemon {
namespace {

void Execute(const std::string& path, const std::string& sql, const std::string& blob = "") {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
  sqlite3_bind_blob(statement, 1, blob.data(), static_cast<int>(blob.size()), SQLITE_STATIC);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_DONE) << sqlite3_errmsg(db);
  sqlite3_finalize(statement);
  sqlite3_close(db);
}

TEST(Store, TheFirstFormatIsTakenOver) {
  Scratch scratch;
  const std::string path = scratch / "vms.sqlite";
  v1::Vm vm;
  vm.set_name("vms/old");
  vm.mutable_spec()->set_kernel_path("/kernel");
  Execute(path, "CREATE TABLE vms (name TEXT PRIMARY KEY, vm BLOB NOT NULL)");
  Execute(path, "INSERT INTO vms VALUES ('vms/old', ?)", vm.SerializeAsString());
  std::string epoch;
  for (int again = 0; again < 2; ++again) {
    auto store = Store::Open(path);
    ASSERT_TRUE(store.ok()) << store.status();
    auto records = (*store)->Records();
    ASSERT_TRUE(records.ok()) << records.status();
    ASSERT_EQ(records->size(), 1u);
    EXPECT_EQ(records->front().vm().spec().kernel_path(), "/kernel");
    if (again == 0) epoch = (*store)->epoch();
    EXPECT_EQ((*store)->epoch(), epoch);
  }
}

TEST(Store, ANewerFormatIsRefusedAndLeftAsItIs) {
  Scratch scratch;
  const std::string path = scratch / "vms.sqlite";
  Execute(path, "PRAGMA user_version = 99");
  auto store = Store::Open(path);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), ::testing::HasSubstr("newer traplined"));
  EXPECT_FALSE(Store::Open(path).ok());
}

TEST(Store, KeepsTheNewestEvents) {
  Scratch scratch;
  auto store = Store::Open(scratch / "vms.sqlite");
  ASSERT_TRUE(store.ok()) << store.status();
  StoreChange change;
  for (uint64_t i = 1; i <= Store::kEventsKept + 10; ++i)
    change.events.emplace_back().set_sequence(i);
  ASSERT_TRUE((*store)->Write(change).ok());
  auto events = (*store)->Events();
  ASSERT_TRUE(events.ok());
  ASSERT_EQ(events->size(), static_cast<size_t>(Store::kEventsKept));
  EXPECT_EQ(events->front().sequence(), 11u);
}

}  // namespace
}  // namespace trapline::daemon
