// SPDX-License-Identifier: Apache-2.0
// Which calls of a file are shown, and how many.
#include "cli/trace/trace_filter.h"

#include <functional>

#include "cli/trace/least_cycles.h"
#include "cli/trace/trace_feed.h"
#include "core/guest/abi.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

// Whether SendIpi() passes.
bool Passes(const std::function<void(v1::TraceFilter&)>& set,
            std::vector<std::string> symbols = {}) {
  v1::TraceFilter fields;
  set(fields);
  TraceFilter filter(fields, std::move(symbols));
  TraceDecoder decoder;
  const absl::StatusOr<TraceStep> step = decoder.Decode(Response({SendIpi()}));
  EXPECT_TRUE(step.ok()) << step.status();
  return filter.Matches(step->calls[0], decoder.sites());
}

TEST(TraceFilter, WantsAllThatIsSetToMatch) {
  EXPECT_TRUE(Passes([](v1::TraceFilter&) {}));
  EXPECT_TRUE(Passes([](v1::TraceFilter& filter) {
    filter.add_vcpus(1);
    filter.add_vcpus(2);
    filter.add_numbers(KVM_HC_SEND_IPI);
    filter.add_cpls(0);
    filter.add_paths(v1::TECHNIQUE_LINKED);
    filter.add_sites(0x1e3f0a7);
    filter.set_min_cycles(61);
  }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.add_vcpus(1); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.add_numbers(KVM_HC_KICK_CPU); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.add_cpls(3); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.add_paths(v1::TECHNIQUE_EMULATE); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.add_sites(0x1000); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.set_min_cycles(62); }));
  EXPECT_FALSE(Passes([](v1::TraceFilter& filter) { filter.set_failed(true); }));
}

TEST(TraceFilter, TakesSitesBySymbolToo) {
  const auto nothing = [](v1::TraceFilter&) {};
  EXPECT_TRUE(Passes(nothing, {"kvm_send_ipi_mask"}));
  EXPECT_TRUE(Passes(nothing, {"kvm_send_ipi_mask+0x9c"}));
  EXPECT_TRUE(Passes(nothing, {"other", "kvm_send_ipi_mask"}));
  EXPECT_TRUE(Passes([](v1::TraceFilter& filter) { filter.add_sites(0x1e3f0a7); }, {"other"}));
  EXPECT_FALSE(Passes(nothing, {"kvm_send_ipi"}));
  EXPECT_FALSE(Passes(nothing, {"kvm_send_ipi_mask+0x9"}));
}

TEST(TraceFilter, TellsAddressesFromSymbols) {
  uint64_t gpa = 0;
  EXPECT_TRUE(ParseSiteAddress("0x1e3f0a7", gpa));
  EXPECT_EQ(gpa, 0x1e3f0a7u);
  EXPECT_TRUE(ParseSiteAddress("1000", gpa));
  EXPECT_EQ(gpa, 0x1000u);
  EXPECT_FALSE(ParseSiteAddress("add", gpa));
  EXPECT_FALSE(ParseSiteAddress("0xzz", gpa));
  EXPECT_FALSE(ParseSiteAddress("", gpa));
}

TEST(LeastCycles, AreCyclesOrATime) {
  EXPECT_EQ(*ParseLeastCycles("10000")->At(0), 10000u);
  EXPECT_EQ(*ParseLeastCycles("5us")->At(2'000'000'000), 10000u);
  EXPECT_EQ(ParseLeastCycles("5us")->At(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*ParseLeastCycles("100000h")->At(UINT64_MAX), UINT64_MAX);
  for (const char* text : {"", "1.5", "-5us", "soon", "0s"})
    EXPECT_FALSE(ParseLeastCycles(text).ok()) << text;
}

class NumberSink : public TraceSink {
 public:
  void Take(const TraceStep& step, const TracedSites&, std::string&) override {
    for (const TracedCall& call : step.calls) cycles.push_back(call.cycles);
  }
  std::vector<uint32_t> cycles;
};

TEST(TraceFeed, SamplesWhatMatchesAndEndsAtTheLimit) {
  std::vector<TracedCall> calls;
  for (uint32_t i = 0; i < 10; ++i) {
    calls.push_back(SendIpi());
    calls.back().cycles = i;
  }
  v1::TraceFilter fields;
  fields.set_min_cycles(1);
  NumberSink sink;
  TraceFeed feed({.filter = TraceFilter(fields, {}), .sample = 3, .limit = 4}, sink);
  std::string text;
  EXPECT_TRUE(*feed.Take(Response(calls), text));
  EXPECT_FALSE(*feed.Take(Response(calls, 2), text));
  EXPECT_THAT(sink.cycles, ::testing::ElementsAre(1, 4, 7, 1));
  EXPECT_EQ(feed.shown(), 4u);
  EXPECT_EQ(feed.dropped(), 2u);
}

}  // namespace
}  // namespace trapline::cli
