// SPDX-License-Identifier: Apache-2.0
// Databases of other builds.
#include "daemon/control/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/common/scratch.h"

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
    ASSERT_EQ(records->records.size(), 1u);
    EXPECT_EQ(records->records.front().vm().spec().kernel_path(), "/kernel");
    if (again == 0) epoch = (*store)->epoch();
    EXPECT_EQ((*store)->epoch(), epoch);
  }
}

// The record of that name as it lies in the file, in hexadecimal digits.
std::string BytesOf(const std::string& path, const std::string& name) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  const std::string sql = "SELECT hex(record) FROM records WHERE name = '" + name + "'";
  EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
  std::string bytes;
  if (sqlite3_step(statement) == SQLITE_ROW)
    bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return bytes;
}

TEST(Store, ADamagedRecordIsNamedAndLeftAsItIs) {
  Scratch scratch;
  const std::string path = scratch / "vms.sqlite";
  StoreChange change;
  for (const char* name : {"vms/a", "vms/b", "vms/c"})
    change.put.emplace_back().mutable_vm()->set_name(name);
  ASSERT_TRUE((*Store::Open(path))->Write(change).ok());
  // One that is no message, and one that is a message, but not of that VM.
  Execute(path, "UPDATE records SET record = ? WHERE name = 'vms/a'", "\xff\xff\xff");
  Execute(path, "UPDATE records SET record = ? WHERE name = 'vms/c'", "");
  auto store = Store::Open(path);
  ASSERT_TRUE(store.ok()) << store.status();
  auto records = (*store)->Records();
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->records.size(), 1u);
  EXPECT_EQ(records->records.front().vm().name(), "vms/b");
  EXPECT_THAT(records->unreadable, ::testing::ElementsAre("vms/a", "vms/c"));
  change = {};
  change.put.emplace_back().mutable_vm()->set_name("vms/b");
  ASSERT_TRUE((*store)->Write(change).ok());
  EXPECT_EQ(BytesOf(path, "vms/a"), "FFFFFF");
}

TEST(Store, ADamagedDefinitionOfTheFirstFormatIsTakenOverAsItIs) {
  Scratch scratch;
  const std::string path = scratch / "vms.sqlite";
  Execute(path, "CREATE TABLE vms (name TEXT PRIMARY KEY, vm BLOB NOT NULL)");
  Execute(path, "INSERT INTO vms VALUES ('vms/old', ?)", "\xff\xff\xff");
  auto store = Store::Open(path);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_THAT((*store)->Records()->unreadable, ::testing::ElementsAre("vms/old"));
  EXPECT_EQ(BytesOf(path, "vms/old"), "FFFFFF");
}

TEST(Store, ADamagedEventIsLeftOut) {
  Scratch scratch;
  const std::string path = scratch / "vms.sqlite";
  StoreChange change;
  for (uint64_t i = 1; i <= 3; ++i) change.events.emplace_back().set_sequence(i);
  ASSERT_TRUE((*Store::Open(path))->Write(change).ok());
  Execute(path, "UPDATE events SET event = ? WHERE sequence = 2", "\xff\xff\xff");
  auto events = (*Store::Open(path))->Events();
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ(events->back().sequence(), 3u);
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
