// SPDX-License-Identifier: Apache-2.0
// Lines for people: arguments and results by what they mean, and nothing of a guest's that a
// terminal would obey.
#include "cli/trace/call_text.h"

#include <cstring>

#include "core/guest/abi.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Lines(const v1::StreamHypercallsResponse& response, TraceClock clock,
                  bool colour = false) {
  TraceDecoder decoder;
  CallText text(clock, colour);
  std::string out;
  const absl::StatusOr<TraceStep> step = decoder.Decode(response);
  EXPECT_TRUE(step.ok()) << step.status();
  if (step.ok()) text.Take(*step, decoder.sites(), out);
  return out;
}

// "name=value, ..." of a call.
std::string Arguments(uint64_t number, std::vector<uint64_t> arguments) {
  TracedCall call{.number = number};
  arguments.resize(4);
  std::copy(arguments.begin(), arguments.end(), call.arguments);
  std::string out;
  AppendArguments(call, out);
  return out;
}

std::string ResultOf(uint64_t number, int64_t result) {
  std::string out;
  AppendResult({.number = number, .result = result}, out);
  return out;
}

uint64_t Bytes(const char* text) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, text, std::min<size_t>(std::strlen(text), sizeof bytes));
  return bytes;
}

TEST(CallText, LooksAsStraceDoes) {
  EXPECT_EQ(Lines(Response({SendIpi()}), TraceClock::kGuest),
            "1.500000 [vcpu 2] send_ipi(bitmap=0x6, min=1, icr=0xfd) = 2  <linked 61 cyc> "
            "kvm_send_ipi_mask+0x9c\n");
  EXPECT_THAT(Lines(Response({SendIpi()}), TraceClock::kNone), ::testing::StartsWith("[vcpu 2]"));
  EXPECT_THAT(Lines(Response({SendIpi()}), TraceClock::kWall),
              ::testing::ContainsRegex("^..:..:21.500000 "));
}

TEST(CallText, IsTheSameOfARecordThatCameAlone) {
  v1::TraceRecord record;
  record.mutable_guest_time()->set_seconds(1);
  record.mutable_guest_time()->set_nanos(500'000'000);
  record.set_vcpu(2);
  record.set_symbol("kvm_send_ipi_mask+0x9c");
  record.set_number(KVM_HC_SEND_IPI);
  for (const uint64_t argument : SendIpi().arguments) record.add_arguments(argument);
  record.set_result(2);
  record.set_path(trapline::v1::TECHNIQUE_LINKED);
  record.set_cycles(61);
  EXPECT_EQ(RecordText(record) + "\n", Lines(Response({SendIpi()}), TraceClock::kGuest));
}

TEST(CallText, ShowsTheAddressWhereThereIsNoSymbol) {
  v1::StreamHypercallsResponse response = Response({SendIpi()});
  response.mutable_sites(0)->clear_symbol();
  EXPECT_THAT(Lines(response, TraceClock::kNone), HasSubstr("> 0xffffffff8106f0a7\n"));
}

TEST(CallText, SaysWhatWasDroppedAndWhereTheGuestWasStartedAgain) {
  EXPECT_THAT(Lines(Response({}, 1234), TraceClock::kNone), "--- 1,234 dropped ---\n");
  TraceDecoder decoder;
  CallText text(TraceClock::kNone, false);
  std::string out;
  ASSERT_TRUE(decoder.Decode(Response({})).ok());
  text.Take(*decoder.Decode(ResponseAfter(60, {SendIpi()})), decoder.sites(), out);
  EXPECT_THAT(out, ::testing::StartsWith("--- started again ---\n[vcpu 2] "));
}

TEST(CallText, ShowsTheArgumentsThatACallHas) {
  EXPECT_EQ(Arguments(TRAPLINE_HC_CLOCK, {1, 2, 3, 4}), "");
  EXPECT_EQ(Arguments(KVM_HC_KICK_CPU, {0, 3}), "flags=0x0, apic_id=3");
  EXPECT_EQ(Arguments(4711, {1, 2, 3, 0xff}), "0x1, 0x2, 0x3, 0xff");
  EXPECT_EQ(Arguments(3, {1, 2, 3, 4}), "0x1, 0x2, 0x3, 0x4");
  EXPECT_EQ(Arguments(KVM_HC_SEND_IPI, {6, 0x10, 0, 0xfd}),
            "bitmap=0x100000000000000006, min=0, icr=0xfd");
}

TEST(CallText, ShowsTimesEventsAndTechniquesAsSuch) {
  EXPECT_EQ(Arguments(TRAPLINE_HC_TIMER, {12'000'000'345}), "deadline=12.000000345s");
  EXPECT_EQ(Arguments(TRAPLINE_HC_TIMER, {~uint64_t{0}}), "deadline=never");
  EXPECT_EQ(Arguments(TRAPLINE_HC_SEND_EVENT, {1, TRAPLINE_EVENT_POWER}), "vcpu=1, event=POWER");
  EXPECT_EQ(Arguments(TRAPLINE_HC_SEND_EVENT, {1, 8}), "vcpu=1, event=8");
  EXPECT_EQ(Arguments(TRAPLINE_HC_TECHNIQUE, {TRAPLINE_TECHNIQUE_INTERRUPT}), "limit=interrupt");
  EXPECT_EQ(Arguments(TRAPLINE_HC_TECHNIQUE, {9}), "limit=9");
}

TEST(CallText, QuotesTextSafely) {
  EXPECT_EQ(Arguments(TRAPLINE_HC_CONSOLE_PUT, {Bytes("hello\n"), 6}),
            R"(bytes="hello\n", count=6)");
  EXPECT_EQ(Arguments(TRAPLINE_HC_CONSOLE_PUT, {Bytes("\"\\\r\t\x1b[2"), 7}),
            R"(bytes="\"\\\r\t\033[2", count=7)");
  EXPECT_EQ(Arguments(TRAPLINE_HC_CONSOLE_PUT, {Bytes("\xff"
                                                      "1"),
                                                2}),
            R"(bytes="\3771", count=2)");
  EXPECT_EQ(Arguments(TRAPLINE_HC_CONSOLE_PUT, {0, 0}), R"(bytes="", count=0)");
  EXPECT_EQ(Arguments(TRAPLINE_HC_CONSOLE_PUT, {0x41, 9}), "bytes=0x41, count=9");
}

TEST(CallText, ShowsResultsAsTheCallMeansThem) {
  EXPECT_EQ(ResultOf(KVM_HC_SEND_IPI, 2), "2");
  EXPECT_EQ(ResultOf(KVM_HC_SEND_IPI, -22), "-22 EINVAL");
  EXPECT_EQ(ResultOf(4711, -1000), "-1000 ENOSYS");
  EXPECT_EQ(ResultOf(4711, -4095), "-4095");
  EXPECT_EQ(ResultOf(4711, -4096), "0xfffffffffffff000");
  EXPECT_EQ(ResultOf(TRAPLINE_HC_PING, 0x123456789), "0x123456789");
  EXPECT_EQ(ResultOf(TRAPLINE_HC_CLOCK, 1'000'000'001), "1.000000001s");
  EXPECT_EQ(ResultOf(TRAPLINE_HC_ENTROPY, 16), "0x10");
}

TEST(CallText, AGuestCannotWriteToTheTerminal) {
  v1::StreamHypercallsResponse response = Response({SendIpi()});
  response.mutable_sites(0)->set_symbol("\033[2Jevil\n");
  EXPECT_THAT(Lines(response, TraceClock::kNone), Not(HasSubstr("\033")));
}

TEST(CallText, PaintsOnlyWhereAsked) {
  EXPECT_THAT(Lines(Response({SendIpi()}), TraceClock::kNone, true),
              HasSubstr("\033[1msend_ipi\033[0m("));
  EXPECT_THAT(Lines(Response({SendIpi()}), TraceClock::kNone), Not(HasSubstr("\033")));
}

TEST(HypercallNumber, IsANameOrANumber) {
  EXPECT_EQ(*HypercallNumber("send_ipi"), 10u);
  EXPECT_EQ(*HypercallNumber("0xa"), 10u);
  EXPECT_EQ(*HypercallNumber("map_gpa_range"), 12u);
  EXPECT_THAT(std::string(HypercallNumber("no_such").status().message()), HasSubstr("send_ipi"));
}

}  // namespace
}  // namespace trapline::cli
