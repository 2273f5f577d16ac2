// SPDX-License-Identifier: Apache-2.0
// Slots, timing, the trace ring.
#include "core/hypercall/recorder.h"

#include <algorithm>

namespace trapline::hypercall {
namespace {

// What a record costs the vCPU (tests/bench/trace.sh), and how much of its time records may take.
constexpr uint64_t kCyclesPerRecord = 80, kShareOfTime = 32;

// Invalid, contents, valid, and only then counted: a reader that overlaps with this sees a number
// that does not fit.
void Append(TraceRing& ring, uint32_t site, const engine::HypercallFrame& frame, const Call& call,
            Path path, uint64_t cycles, uint64_t now) {
  uint64_t head = ring.head.load(std::memory_order_relaxed);
  TraceRecord& record = ring.records[head % kTraceCapacity];
  record.sequence.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  record.time = now;
  record.gva = frame.gva;
  record.number = call.number;
  std::copy(std::begin(call.args), std::end(call.args), std::begin(record.args));
  record.result = call.result;
  record.vcpu = call.vcpu;
  record.site = site;
  record.cycles = static_cast<uint32_t>(std::min<uint64_t>(cycles, UINT32_MAX));
  record.path = static_cast<uint8_t>(path);
  record.cpl = frame.cpl;
  record.sequence.store(head + 1, std::memory_order_release);
  ring.head.store(head + 1, std::memory_order_release);
}

}  // namespace

Recorder::Recorder(StatsFile& stats) : stats_(stats), vcpus_(stats.header().vcpus) {
  for (uint32_t i = 0; i < vcpus_.size(); ++i) vcpus_[i].skipped = &stats.ring(i).skipped;
}

Recorder::Note Recorder::NoteFor(const SiteCounters& counters, uint32_t vcpu, uint64_t before) {
  VcpuState& state = vcpus_[vcpu];
  bool timed = before % engine::kTimedOneIn == 0 ||
               counters.epoch.load(std::memory_order_relaxed) != state.epoch;
  if (!tracing_.load(std::memory_order_relaxed)) {
    SetMark(state, kTracingMark);
    return timed ? Note::kTimed : Note::kCounted;
  }
  if (state.budget > 0) return Note::kTraced;
  Skip(state);
  return timed ? Note::kTimed : Note::kCounted;
}

void Recorder::Record(Note note, SiteCounters& counters, uint32_t site,
                      const engine::HypercallFrame& frame, const Call& call, Path path,
                      const Times& times) {
  VcpuState& state = vcpus_[call.vcpu];
  uint64_t cycles = times.end - times.start;
  counters.epoch.store(state.epoch, std::memory_order_relaxed);
  engine::TimeCall(counters, path, cycles, times.now);
  if (note == Note::kTraced) {
    Append(stats_.ring(call.vcpu), site, frame, call, path, cycles, times.now);
    --state.budget;
  }
  if (state.budget <= 0) Refill(state, times.end);
}

// Whoever reads the clock looks whether the budget has grown meanwhile.
void Recorder::Refill(VcpuState& state, uint64_t now) {
  uint64_t earned = (now - state.refilled) / (kCyclesPerRecord * kShareOfTime);
  if (earned > 0) {
    state.budget = static_cast<int64_t>(std::min<uint64_t>(earned, kBurst));
    state.refilled = now;
  }
  SetMark(state, earned > 0 ? kTracingMark : kSkippingMark);
}

// The vCPU's own mark; again where SetTracing came in between, lest its mark be lost.
void Recorder::SetMark(VcpuState& state, uint64_t while_tracing) {
  bool tracing;
  do {
    tracing = tracing_;
    state.mark = tracing ? while_tracing : state.epoch;
  } while (tracing != tracing_);
}

void Recorder::BeginEpoch(uint32_t vcpu) {
  VcpuState& state = vcpus_[vcpu];
  ++state.epoch;
  SetMark(state, kTracingMark);
}

absl::Status Recorder::SetTracing(bool on) {
  if (on) {
    if (auto status = stats_.ReserveRings(); !status.ok()) return status;
  }
  tracing_ = on;
  // Without tracing the old mark will do until a call looks twice.
  if (on) {
    for (VcpuState& state : vcpus_) state.mark = kTracingMark;
  }
  return absl::OkStatus();
}

void Recorder::Reset(uint32_t site) {
  for (uint32_t vcpu = 0; vcpu < vcpus_.size(); ++vcpu) {
    SiteCounters& c = stats_.counters(vcpu, site);
    for (auto& path : c.calls) {
      for (auto& value : path) value = 0;
    }
    for (auto& value : c.cycles) value = 0;
    for (auto& histogram : c.histogram) {
      for (auto& value : histogram) value = 0;
    }
    for (auto& value : c.number) value = 0;
    c.first_use = c.last_use = c.epoch = 0;
  }
}

}  // namespace trapline::hypercall
