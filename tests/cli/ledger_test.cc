// SPDX-License-Identifier: Apache-2.0
// Ledgers as files: what was written is read again, what is none is refused, rows are rows.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "cli/ledger_csv.h"
#include "cli/ledger_file.h"
#include "cli/sites_text.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tests/cli/ledgers.h"

namespace trapline::cli {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

v1::SiteTransition MakeTransition(uint64_t sequence) {
  v1::SiteTransition transition;
  transition.set_sequence(sequence);
  transition.set_site("vms/a/sites/0x1000");
  transition.set_from(v1::Site::TRAPPING);
  transition.set_to(v1::Site::PATCHED);
  transition.set_reason("trap threshold");
  transition.set_vcpu(2);
  transition.set_symbol("send+0x4");
  transition.mutable_time()->set_seconds(1700000000);
  transition.mutable_guest_time()->set_nanos(1500000);
  transition.mutable_policy()->set_limit(v1::TECHNIQUE_LINKED);
  return transition;
}

std::string Written(const v1::SiteLedger& ledger) {
  std::string json;
  LedgerWriter writer([&json](absl::string_view piece) {
    json.append(piece.data(), piece.size());
    return absl::OkStatus();
  });
  EXPECT_TRUE(writer.Begin(ledger).ok());
  for (const v1::Site& site : ledger.sites()) EXPECT_TRUE(writer.Add(site).ok());
  for (const auto& transition : ledger.transitions()) EXPECT_TRUE(writer.Add(transition).ok());
  EXPECT_TRUE(writer.End(ledger.lost()).ok());
  return json;
}

TEST(LedgerFile, WhatIsWrittenIsReadAgain) {
  for (const size_t sites : {0, 1, 3}) {
    for (const size_t transitions : {0, 1, 3}) {
      v1::SiteLedger ledger = MakeLedger({});
      ledger.set_version("1 \"quoted\"");
      ledger.set_lost(7);
      ledger.mutable_totals()->set_traps(5);
      ledger.mutable_time()->set_seconds(1700000000);
      for (size_t i = 0; i < sites; ++i)
        *ledger.add_sites() = MakeSite({"a\nb\"" + std::to_string(i), 0x1000 + i});
      for (size_t i = 0; i < transitions; ++i) *ledger.add_transitions() = MakeTransition(i + 1);
      const absl::StatusOr<v1::SiteLedger> read = ParseLedger("test", Written(ledger));
      ASSERT_TRUE(read.ok()) << read.status() << Written(ledger);
      EXPECT_TRUE(MessageDifferencer::Equals(*read, ledger)) << Written(ledger);
    }
  }
}

TEST(LedgerFile, WhatIsNoLedgerIsRefusedWithTheReason) {
  const struct {
    std::string json, reason;
  } cases[] = {
      {"", "test: "},
      {"{", "test: "},
      {"[]", "test: "},
      {"{}", "it names no VM"},
      {R"({"vm": {"name": "vms/a"}, "sites": [{}]})", "has no name"},
      {R"({"vm": {"name": "vms/a"}, "sites": [{"name": "s"}, {"name": "s"}]})", "more than once"},
      {R"({"vm": {"name": "vms/a"}, "sites": [{"name": "s", "original": "AAAAAAAAAAAAAAAAAAAAAAAA"}]})",
       "longer than any instruction"},
      {R"({"vm": {"name": "vms/a"}, "sites": [{"name": "s", "traps": "many"}]})", "test: "},
      {R"({"vm": )" + std::string(100000, '['), "test: "},
  };
  for (const auto& one : cases) {
    const absl::StatusOr<v1::SiteLedger> read = ParseLedger("test", one.json);
    ASSERT_FALSE(read.ok()) << one.json.substr(0, 100);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(one.reason));
  }
}

TEST(LedgerFile, WhatALaterVersionAddsIsPassedOver) {
  EXPECT_TRUE(
      ParseLedger("test", R"({"vm": {"name": "vms/a"}, "colour": {"of": ["money"]}})").ok());
}

TEST(LedgerFile, AFileThatIsNotThereOrIsAFolderIsAnError) {
  EXPECT_EQ(ReadLedger("/nonexistent/ledger.json").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadLedger("/tmp").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LedgerCsv, EachRowHasAsManyFieldsAsTheHeading) {
  const auto fields = [](const std::string& row) {
    return std::count(row.begin(), row.end(), ',') + 1;
  };
  EXPECT_EQ(fields(SiteCsvRow(MakeSite({"f+0x1", 0x1000}))), fields(SiteCsvHeading()));
  EXPECT_EQ(fields(TransitionCsvRow(MakeTransition(1))), fields(TransitionCsvHeading()));
  EXPECT_THAT(SiteCsvHeading(), StartsWith("gpa,gva,symbol,"));
  EXPECT_THAT(SiteCsvHeading(), EndsWith("\r\n"));
}

TEST(LedgerCsv, FieldsAreQuotedWhereTheyMustBe) {
  EXPECT_THAT(SiteCsvRow(MakeSite({"op,\"er\"", 0x1000})),
              StartsWith("0x1000,0x1000,\"op,\"\"er\"\"\","));
  EXPECT_THAT(SiteCsvRow(MakeSite({"\033[2J\r\n", 0x1000})), StartsWith("0x1000,0x1000,?[2J??,"));
}

TEST(LedgerCsv, RowsSayWhatTheSiteSays) {
  EXPECT_EQ(
      SiteCsvRow(MakeSite({"f+0x1", 0x1000, 10, 2, 30, 5000})),
      "0x1000,0x1000,f+0x1,0,linked,,linked,0f01c1,cd1f90,2,30,0,30,5000,0,1200,10:32,,,,,,\r\n");
  EXPECT_EQ(TransitionCsvRow(MakeTransition(3)),
            "3,2023-11-14T22:13:20.000Z,1500000,2,0x1000,send+0x4,trapping,patched,"
            "trap threshold,linked,0,0\r\n");
}

TEST(TransitionText, SaysWhatMadeRoom) {
  EXPECT_THAT(TransitionTable({MakeTransition(1)}, 12, false), StartsWith("(12 older ones"));
  const std::string table = TransitionTable({MakeTransition(1)}, 0, false);
  EXPECT_THAT(table, StartsWith("TIME"));
  EXPECT_THAT(table, HasSubstr("trap threshold"));
  EXPECT_THAT(table, HasSubstr("0.001500 s"));
}

TEST(TransitionText, ASiteThatWasFoundIsNew) {
  v1::SiteTransition found = MakeTransition(1);
  found.set_from(v1::Site::STATE_UNSPECIFIED);
  found.clear_vcpu();
  EXPECT_THAT(TransitionTable({found}, 0, false), HasSubstr("new "));
}

class Staged : public ::testing::Test {
 protected:
  Staged() { std::filesystem::create_directory(folder_); }
  ~Staged() override { std::filesystem::remove_all(folder_); }
  std::string Contents() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  long FilesThere() const {
    return std::distance(std::filesystem::directory_iterator(folder_), {});
  }
  const std::string folder_ = testing::TempDir() + "/staged_" + std::to_string(getpid());
  const std::string path_ = folder_ + "/file";
};

TEST_F(Staged, NothingIsThereBeforeAllIs) {
  std::ofstream(path_) << "old";
  {
    absl::StatusOr<StagedFile> file = StagedFile::Create("--file", path_);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Write("new").ok());
    EXPECT_EQ(Contents(), "old");
  }
  EXPECT_EQ(Contents(), "old") << "it was given up";
  EXPECT_EQ(FilesThere(), 1);
  absl::StatusOr<StagedFile> file = StagedFile::Create("--file", path_);
  ASSERT_TRUE(file->Write("new").ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(Contents(), "new");
  EXPECT_EQ(FilesThere(), 1);
}

TEST_F(Staged, WhatALinkLeadsToIsReplaced) {
  std::ofstream(folder_ + "/target") << "old";
  std::filesystem::create_symlink(folder_ + "/target", path_);
  absl::StatusOr<StagedFile> file = StagedFile::Create("--file", path_);
  ASSERT_TRUE(file->Write("new").ok() && file->Commit().ok());
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(Contents(), "new");
}

TEST_F(Staged, DevicesFoldersAndWhereNobodyMayWriteAreRefused) {
  for (const std::string& path :
       {std::string("/dev/null"), folder_, std::string("/nonexistent/f")}) {
    const auto file = StagedFile::Create("--file", path);
    ASSERT_FALSE(file.ok()) << path;
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace trapline::cli
