// SPDX-License-Identifier: Apache-2.0
// What it costs the command line to show a traced call: decoding alone, and each kind of text.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "cli/trace/call_json.h"
#include "cli/trace/call_text.h"
#include "cli/trace/trace_events.h"
#include "cli/trace/trace_feed.h"
#include "cli/trace/trace_summary.h"
#include "core/guest/abi.h"

namespace trapline::cli {
namespace {

constexpr size_t kCalls = 512;  // in a response

v1::StreamHypercallsResponse Response() {
  constexpr uint64_t kNumbers[] = {KVM_HC_SEND_IPI, KVM_HC_KICK_CPU, TRAPLINE_HC_PING,
                                   TRAPLINE_HC_CONSOLE_PUT};
  std::vector<TracedCall> calls(kCalls);
  for (size_t i = 0; i < kCalls; ++i) {
    calls[i] = {.guest_ns = 1'000'000'000 + i * 1000,
                .number = kNumbers[i % std::size(kNumbers)],
                .arguments = {0x6f6c6c6568, 5, 0, 0xfd},
                .result = i % 16 == 0 ? -KVM_EINVAL : 0,
                .site = static_cast<uint32_t>(i % 8),
                .cycles = static_cast<uint32_t>(40 + i),
                .vcpu = static_cast<uint16_t>(i % 4),
                .path = trapline::v1::TECHNIQUE_LINKED};
  }
  v1::StreamHypercallsResponse response;
  response.set_packed(calls.data(), kCalls * sizeof(TracedCall));
  response.mutable_start_time()->set_seconds(1'700'000'000);
  for (uint32_t i = 0; i < 8; ++i) {
    v1::TraceSite& site = *response.add_sites();
    site.set_index(i);
    site.set_name("vms/debian/sites/0x1e3f0a7");
    site.set_symbol("kvm_send_ipi_mask+0x9c");
  }
  return response;
}

class Nothing : public TraceSink {
 public:
  void Take(const TraceStep& step, const TracedSites&, std::string&) override {
    benchmark::DoNotOptimize(step.calls.data());
  }
};

void Run(benchmark::State& state, TraceSink& sink) {
  v1::StreamHypercallsResponse response = Response();
  TraceFeed feed({}, sink);
  std::string text;
  for (auto _ : state) {
    if (!feed.Take(response, text).ok()) return state.SkipWithError("not understood");
    text.clear();
    response.clear_sites();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kCalls));
}

void Decode(benchmark::State& state) {
  Nothing sink;
  Run(state, sink);
}
void Text(benchmark::State& state) {
  CallText sink(TraceClock::kGuest, false);
  Run(state, sink);
}
void Json(benchmark::State& state) {
  CallJson sink;
  Run(state, sink);
}
void Summary(benchmark::State& state) {
  TraceSummary sink({});
  Run(state, sink);
}
void Export(benchmark::State& state) {
  v1::TraceFileEntry::Header header;
  header.set_cycles_per_second(2'500'000'000);
  TraceEvents sink(header);
  Run(state, sink);
}
BENCHMARK(Decode);
BENCHMARK(Text);
BENCHMARK(Json);
BENCHMARK(Summary);
BENCHMARK(Export);

}  // namespace
}  // namespace trapline::cli

BENCHMARK_MAIN();
