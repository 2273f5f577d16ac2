// SPDX-License-Identifier: Apache-2.0
// The parts of the CLI that need no daemon: units, tables, errors, formats, escape keys, the
// benchmark's table.
#include <cstdint>
#include <string>

#include "cli/address.h"
#include "cli/bench_table.h"
#include "cli/escape_keys.h"
#include "cli/exit_code.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/table.h"
#include "cli/units.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace trapline::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Units, SizesHaveBinarySuffixes) {
  EXPECT_EQ(*ParseSize("4096"), 4096u);
  EXPECT_EQ(*ParseSize("512M"), uint64_t{512} << 20);
  EXPECT_EQ(*ParseSize("2g"), uint64_t{2} << 30);
  EXPECT_EQ(*ParseSize("64KiB"), uint64_t{64} << 10);
  EXPECT_EQ(*ParseSize("1MB"), uint64_t{1} << 20);
}

TEST(Units, SizesThatAreNoneAreRefused) {
  for (const char* text :
       {"", "M", "12X", "1.5G", "-1", "99999999999999999999", "16777217T", "1 G"}) {
    EXPECT_FALSE(ParseSize(text).ok()) << text;
  }
}

TEST(Units, SizesAreShownInTheirLargestUnit) {
  EXPECT_EQ(FormatSize(uint64_t{512} << 20), "512M");
  EXPECT_EQ(FormatSize(uint64_t{3} << 29), "1.5G");
  EXPECT_EQ(FormatSize(100), "100B");
}

TEST(Units, DurationsAreSecondsUnlessTheySay) {
  EXPECT_EQ(*ParseDuration("30"), absl::Seconds(30));
  EXPECT_EQ(*ParseDuration("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*ParseDuration("500ms"), absl::Milliseconds(500));
  EXPECT_FALSE(ParseDuration("-1s").ok());
  EXPECT_FALSE(ParseDuration("soon").ok());
}

TEST(Units, NumbersAreDecimalOrHexadecimal) {
  EXPECT_EQ(*ParseNumber("0x1F"), 0x1fu);
  EXPECT_EQ(*ParseNumber("31"), 31u);
  EXPECT_FALSE(ParseNumber("0x").ok());
  EXPECT_FALSE(ParseNumber("1f").ok());
  EXPECT_EQ(Grouped(1234567), "1,234,567");
  EXPECT_EQ(Grouped(999), "999");
}

TEST(TableText, ColumnsAreAsWideAsTheirContents) {
  Table table({{"NAME"}, {"TRAPS", Align::kRight}});
  table.Add({"debian", "7"});
  table.Add({"x", "12345678"});
  EXPECT_EQ(table.Render(false),
            "NAME       TRAPS\n"
            "debian         7\n"
            "x       12345678\n");
}

TEST(TableText, AGuestCannotWriteToTheTerminal) {
  Table table({{"SYMBOL"}});
  table.Add({"\033[2Jevil\n"});
  EXPECT_EQ(table.Render(false), "SYMBOL\n?[2Jevil?\n");
}

TEST(NamesText, AMeasureThatIsNotInForceSaysSo) {
  v1::Confinement::Measure measure;
  measure.set_name("root");
  measure.set_state(v1::Confinement::Measure::APPLIED);
  measure.set_detail("nothing but /run/trapline/vms/a");
  EXPECT_EQ(MeasureCell(measure).text, "root: nothing but /run/trapline/vms/a");
  EXPECT_EQ(MeasureCell(measure).colour, Colour::kPlain);
  measure.set_state(v1::Confinement::Measure::UNAVAILABLE);
  measure.set_detail("it takes a mount namespace of its own");
  EXPECT_EQ(MeasureCell(measure).text, "root: unavailable: it takes a mount namespace of its own");
  EXPECT_EQ(MeasureCell(measure).colour, Colour::kYellow);
  measure.set_state(v1::Confinement::Measure::OFF);
  measure.set_detail("the daemon was told so");
  EXPECT_EQ(MeasureCell(measure).text, "root: off: the daemon was told so");
}

TEST(EscapeKeysTest, OrdinaryKeysGoToTheGuest) {
  EscapeKeys keys;
  const auto result = keys.Feed("ls\x03\r");
  EXPECT_EQ(result.bytes, "ls\x03\r");
  EXPECT_EQ(result.action, KeyAction::kNone);
}

TEST(EscapeKeysTest, TheEscapeMayBeSplit) {
  EscapeKeys keys;
  EXPECT_EQ(keys.Feed("a\x1d").bytes, "a");
  EXPECT_EQ(keys.Feed("d").action, KeyAction::kDetach);
}

TEST(EscapeKeysTest, TwiceSendsItOnce) {
  EscapeKeys keys;
  const auto result = keys.Feed("\x1d\x1dq");
  EXPECT_EQ(result.bytes, "\x1dq");
  EXPECT_EQ(result.action, KeyAction::kNone);
}

TEST(EscapeKeysTest, WhatFollowsTheActionIsDropped) {
  EscapeKeys keys;
  const auto result = keys.Feed("x\x1dqyz");
  EXPECT_EQ(result.bytes, "x");
  EXPECT_EQ(result.action, KeyAction::kStop);
}

TEST(AddressText, UnixOrHostAndPort) {
  EXPECT_EQ(ParseAddress("unix:///run/t.sock")->unix_path, "/run/t.sock");
  EXPECT_EQ(ParseAddress("unix:/run/t.sock")->grpc_target, "unix:///run/t.sock");
  EXPECT_EQ(ParseAddress("tcp://127.0.0.1:7400")->grpc_target, "127.0.0.1:7400");
  for (const char* bad :
       {"", "unix://relative", "localhost", "localhost:0", "localhost:x", ":7400"})
    EXPECT_EQ(ExitCodeFor(ParseAddress(bad).status()), kUsage) << bad;
}

TEST(AddressText, LoopbackIsThisMachineAndNoOther) {
  for (const char* here :
       {"unix:///t.sock", "localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"})
    EXPECT_TRUE(ParseAddress(here)->loopback) << here;
  for (const char* elsewhere : {"10.0.0.1:1", "127.example:1", "localhost.example:1", "[::2]:1"})
    EXPECT_FALSE(ParseAddress(elsewhere)->loopback) << elsewhere;
}

absl::Status WrongState() {
  google::rpc::ErrorInfo info;
  info.set_reason("VM_WRONG_STATE");
  info.set_domain("trapline");
  (*info.mutable_metadata())["current"] = "STOPPED";
  (*info.mutable_metadata())["allowed"] = "RUNNING";
  google::rpc::Status details;
  details.set_code(9);
  details.add_details()->PackFrom(info);
  return FromGrpc(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                               "cannot pause vms/debian: it is STOPPED",
                               details.SerializeAsString()));
}

TEST(StatusText, SaysWhatTheMessageLeavesOut) {
  const std::string text = DescribeStatus(WrongState());
  EXPECT_THAT(text, HasSubstr("cannot pause vms/debian"));
  EXPECT_THAT(text, HasSubstr("allowed: RUNNING"));
  EXPECT_THAT(text, HasSubstr("VM_WRONG_STATE"));
  EXPECT_EQ(text.find("current:"), std::string::npos) << "the message has it already: " << text;
}

TEST(StatusText, JsonHoldsTheDetails) {
  google::protobuf::Struct document;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(StatusAsJson(WrongState()), &document).ok());
  const auto& error = document.fields().at("error").struct_value().fields();
  EXPECT_EQ(error.at("status").string_value(), "FAILED_PRECONDITION");
  EXPECT_EQ(error.at("exitCode").number_value(), kWrongState);
  const auto& detail = error.at("details").list_value().values(0).struct_value().fields();
  EXPECT_EQ(detail.at("reason").string_value(), "VM_WRONG_STATE");
}

TEST(StatusText, DetailsThatAreNoneDoNoHarm) {
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "boom", "\xff\xff not protobuf"));
  EXPECT_THAT(DescribeStatus(status), HasSubstr("boom"));
  EXPECT_THAT(StatusAsJson(status), HasSubstr("INTERNAL"));
}

TEST(OutputText, YamlIsTheSameDocument) {
  google::protobuf::Struct document;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(
          R"({"vms":[{"name":"vms/a","labels":{}},{"name":"vms/b"}],"none":[],"a-b":"x: y"})",
          &document)
          .ok());
  EXPECT_EQ(ToYaml(document),
            "\"a-b\": \"x: y\"\n"
            "none: []\n"
            "vms:\n"
            "  -\n"
            "    labels: {}\n"
            "    name: \"vms/a\"\n"
            "  -\n"
            "    name: \"vms/b\"\n");
}

TEST(OutputText, FormatsThatACommandLacksAreRefused) {
  Format format = Format::kTable;
  EXPECT_TRUE(ParseFormat("json", kStreamFormats, format).ok());
  EXPECT_EQ(format, Format::kJson);
  EXPECT_EQ(ExitCodeFor(ParseFormat("yaml", kStreamFormats, format)), kUsage);
}

TEST(BenchTable, ReadsTheGuestsRow) {
  const BenchRow& linked = *FindBenchRow("linked");
  const auto row =
      ParseTechniqueRow("boot\r\nlinked: 61 60 62 61 60\r\nkhz: 2600000\r\ndone\r\n", linked);
  ASSERT_TRUE(row.ok());
  EXPECT_EQ(row->name, "linked");
  EXPECT_THAT(row->cycles, ElementsAre(61, 60, 62, 61, 60));
  EXPECT_EQ(row->khz, 2600000u);
  EXPECT_EQ(Median(row->cycles), 61u);
  EXPECT_NEAR(Nanoseconds(*row), 23.46, 0.01);
  EXPECT_FALSE(ParseTechniqueRow("linked: nothing\n", linked).ok());
}

TEST(BenchTable, RowsOfOneTechniqueKeepTheirNames) {
  const auto row = ParseTechniqueRow("linked: 5\n", *FindBenchRow("host"));
  ASSERT_TRUE(row.ok());
  EXPECT_EQ(row->name, "host");
  EXPECT_EQ(Nanoseconds(*row), 0) << "no frequency was said";
  EXPECT_EQ(FindBenchRow("nonsense"), nullptr);
}

TEST(BenchTable, ShowsRatiosAgainstEmulationAndTheirSpread) {
  const std::vector<TechniqueRow> rows = {{"emulate", {800, 900, 700}, 0},
                                          {"linked", {100, 90, 140}, 1000000}};
  const Ratio ratio = AgainstEmulation(rows, rows[1]);
  EXPECT_DOUBLE_EQ(ratio.median, 8);
  EXPECT_DOUBLE_EQ(ratio.least, 5);
  EXPECT_DOUBLE_EQ(ratio.most, 10);
  const std::string text = RenderTechniqueTable(rows, "engine soft", false);
  EXPECT_THAT(text, HasSubstr("8.00x (5.00 to 10.00)"));
  EXPECT_THAT(text, HasSubstr("2915 2789 2764 2721 2898"));
  EXPECT_THAT(text, HasSubstr("here (engine soft):"));
  EXPECT_THAT(text, HasSubstr("10,000,000")) << "calls a second at 100 ns";
  EXPECT_EQ(AgainstEmulation({rows[1]}, rows[1]).median, 0) << "nothing to compare with";
}

}  // namespace
}  // namespace trapline::cli
