// SPDX-License-Identifier: Apache-2.0
// The table at the end of a trace.
#include "cli/trace/trace_summary.h"

#include "absl/strings/str_split.h"
#include "core/guest/abi.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;

std::vector<TracedCall> Calls() {
  std::vector<TracedCall> calls;
  for (uint32_t i = 1; i <= 100; ++i) {  // 5050 cycles
    TracedCall call = SendIpi();
    call.cycles = i;
    calls.push_back(call);
  }
  TracedCall slow = SendIpi();
  slow.path = trapline::v1::TECHNIQUE_EMULATE;
  slow.cycles = 20000;
  slow.result = -KVM_EINVAL;
  calls.push_back(slow);
  TracedCall ping = SendIpi();
  ping.number = TRAPLINE_HC_PING;
  ping.cycles = 10000;
  calls.insert(calls.end(), {ping, ping, ping});
  return calls;
}

std::string Summary(const TraceSummary::Look& look, const std::vector<TracedCall>& calls,
                    uint64_t dropped = 0) {
  TraceDecoder decoder;
  TraceSummary summary(look);
  std::string out;
  summary.Take(*decoder.Decode(Response(calls, dropped)), decoder.sites(), out);
  EXPECT_EQ(out, "");
  summary.End(out);
  return out;
}

TEST(TraceSummary, LooksAsStracesDoes) {
  EXPECT_EQ(Summary({}, Calls(), 1234),
            "% CYCLES  CYCLES    AVG    P50    P99  CALLS  FAILED  PATH    CALL\n"
            "   54.50   30000  10000  10112  10112      3          linked  ping\n"
            "   36.33   20000  20000  20224  20224      1       1  trap    send_ipi\n"
            "    9.17    5050     50     50     99    100          linked  send_ipi\n"
            "  100.00   55050    529     52  10112    104       1          total\n"
            "1,234 more were not seen (dropped).\n");
  EXPECT_THAT(Summary({.sample = 10}, Calls()), HasSubstr("One call in 10.\n"));
}

TEST(TraceSummary, FitsATerminal) {
  std::vector<TracedCall> calls(1000, SendIpi());
  for (TracedCall& call : calls) {
    call.cycles = 99'999;
    call.path = trapline::v1::TECHNIQUE_INTERRUPT;
    call.number = TRAPLINE_HC_CONSOLE_WRITE;
  }
  const std::string text = Summary({}, calls);
  for (absl::string_view line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 80u) << line;
}

// The calls' names with their paths, in the order of the rows.
std::vector<std::string> Rows(SummaryOrder order) {
  std::vector<std::string> rows;
  const std::string text = Summary({.order = order}, Calls());
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    rows.push_back(words[words.size() - 2] + " " + words.back());
  }
  return {rows.begin() + 1, rows.end() - 1};
}

TEST(TraceSummary, IsInTheOrderAskedFor) {
  using ::testing::ElementsAre;
  EXPECT_THAT(Rows(SummaryOrderOf("cycles")),
              ElementsAre("linked ping", "trap send_ipi", "linked send_ipi"));
  EXPECT_THAT(Rows(SummaryOrderOf("calls")),
              ElementsAre("linked send_ipi", "linked ping", "trap send_ipi"));
  EXPECT_THAT(Rows(SummaryOrderOf("avg")),
              ElementsAre("trap send_ipi", "linked ping", "linked send_ipi"));
  EXPECT_EQ(Rows(SummaryOrderOf("failed"))[0], "trap send_ipi");
}

TEST(TraceSummary, IsOneDocumentOfJson) {
  google::protobuf::Struct document;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(Summary({.json = true}, Calls(), 7), &document)
          .ok());
  const auto& fields = document.fields();
  ASSERT_EQ(fields.at("hypercalls").list_value().values_size(), 3);
  const auto& ping = fields.at("hypercalls").list_value().values(0).struct_value().fields();
  EXPECT_EQ(ping.at("name").string_value(), "ping");
  EXPECT_EQ(ping.at("number").string_value(), "4096");
  EXPECT_EQ(ping.at("path").string_value(), "linked");
  EXPECT_EQ(ping.at("calls").string_value(), "3");
  EXPECT_EQ(fields.at("total").struct_value().fields().at("cycles").string_value(), "55050");
  EXPECT_EQ(fields.at("dropped").string_value(), "7");
}

TEST(TraceSummary, AGuestThatCallsByAnyNumberFillsNoMemory) {
  std::vector<TracedCall> calls(10'000, SendIpi());
  for (size_t i = 0; i < calls.size(); ++i) calls[i].number = 100'000 + i;
  calls.push_back(SendIpi());
  const std::string text = Summary({}, calls);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 64 + 1 + 1 + 1);
  EXPECT_THAT(text, ::testing::ContainsRegex(" 9936 +linked  others\n"));
  EXPECT_THAT(text, HasSubstr(" 10001 "));
}

TEST(CycleHistogram, IsRightWithinTwoPercent) {
  for (const uint64_t value : {0u, 1u, 63u, 64u, 65u, 1000u, 24'000u, 1u << 31, UINT32_MAX}) {
    CycleHistogram histogram;
    histogram.Add(static_cast<uint32_t>(value));
    const auto found = static_cast<double>(histogram.Quantile(0.5));
    EXPECT_NEAR(found, static_cast<double>(value), 0.02 * static_cast<double>(value)) << value;
  }
  CycleHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), 0u);
  for (uint32_t i = 1; i <= 50; ++i) histogram.Add(i);
  EXPECT_EQ(histogram.Quantile(0), 1u);
  EXPECT_EQ(histogram.Quantile(0.5), 25u);
  EXPECT_EQ(histogram.Quantile(1), 50u);
}

}  // namespace
}  // namespace trapline::cli
