// SPDX-License-Identifier: Apache-2.0
// Our JSON of a call against protobuf's of the same TraceRecord, letter by letter but for the place
// of the times.
#include "cli/trace/call_json.h"

#include "absl/strings/str_cat.h"
#include "cli/output.h"
#include "core/guest/abi.h"
#include "core/guest/hypercalls.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

std::string Lines(TraceDecoder& decoder, const v1::StreamHypercallsResponse& response) {
  CallJson json;
  std::string out;
  const absl::StatusOr<TraceStep> step = decoder.Decode(response);
  EXPECT_TRUE(step.ok()) << step.status();
  if (step.ok()) json.Take(*step, decoder.sites(), out);
  return out;
}

std::string Expected(const TracedCall& call, const v1::TraceSite& site) {
  v1::TraceRecord record;
  record.mutable_time()->set_seconds(kStartSeconds +
                                     static_cast<int64_t>(call.guest_ns / 1'000'000'000));
  record.mutable_time()->set_nanos(static_cast<int32_t>(call.guest_ns % 1'000'000'000));
  record.mutable_guest_time()->set_seconds(static_cast<int64_t>(call.guest_ns / 1'000'000'000));
  record.mutable_guest_time()->set_nanos(static_cast<int32_t>(call.guest_ns % 1'000'000'000));
  record.set_vcpu(call.vcpu);
  record.set_site(site.name());
  record.set_gva(site.gva());
  record.set_symbol(site.symbol());
  record.set_number(call.number);
  record.set_number_name(guest::HypercallName(call.number));
  for (unsigned i = 0; i < guest::HypercallArguments(call.number); ++i)
    record.add_arguments(call.arguments[i]);
  record.set_result(call.result);
  record.set_path(static_cast<v1::Technique>(call.path));
  record.set_cycles(call.cycles);
  record.set_cpl(call.cpl);
  // Protobuf puts messages, which the times are, behind everything else.
  const std::string json = ToJson(record, false);
  const size_t times = json.find(",\"time\":"), end = json.rfind('}');
  return absl::StrCat("{", json.substr(times + 1, end - times - 1), ",", json.substr(1, times - 1),
                      "}\n");
}

TEST(CallJson, IsWhatProtobufMakesOfTheRecord) {
  std::vector<TracedCall> calls;
  for (const uint64_t ns : {uint64_t{0}, uint64_t{1}, uint64_t{1'000}, uint64_t{20'000'000},
                            uint64_t{1'500'000'000}, uint64_t{98'765'432'109'876}}) {
    for (const uint64_t number : {uint64_t{KVM_HC_SEND_IPI}, uint64_t{TRAPLINE_HC_CLOCK},
                                  uint64_t{3}, uint64_t{4711}, ~uint64_t{0}}) {
      for (const int path : {1, 2, 3}) {
        TracedCall call = SendIpi();
        call.guest_ns = ns;
        call.number = number;
        call.path = static_cast<uint8_t>(path);
        call.result = path == 1 ? INT64_MIN : -path;
        call.cpl = static_cast<uint8_t>(path);
        calls.push_back(call);
      }
    }
  }
  for (const char* symbol : {"", "f+0x1", "\"\\\n\x01<>&\xc3\xa4"}) {
    v1::StreamHypercallsResponse response = Response(calls);
    response.mutable_sites(0)->set_symbol(symbol);
    std::string expected;
    for (const TracedCall& call : calls) expected += Expected(call, response.sites(0));
    TraceDecoder decoder;
    EXPECT_EQ(Lines(decoder, response), expected);
  }
}

TEST(CallJson, TellsOfDropsAndStartsInLinesOfTheirOwn) {
  TraceDecoder decoder;
  EXPECT_EQ(Lines(decoder, Response({}, 12)), "{\"dropped\":\"12\"}\n");
  v1::StreamHypercallsResponse again = ResponseAfter(60, {});
  again.set_dropped(15);
  EXPECT_EQ(Lines(decoder, again),
            "{\"startedAgain\":\"2023-11-14T22:14:20Z\"}\n{\"dropped\":\"3\"}\n");
}

}  // namespace
}  // namespace trapline::cli
