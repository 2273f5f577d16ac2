// SPDX-License-Identifier: Apache-2.0
// Slots, timing, the trace ring.
#include "core/hypercall/recorder.h"

#include <algorithm>

namespace trapline::hypercall {

Recorder::Recorder(StatsFile& stats) : stats_(stats), vcpus_(stats.header().vcpus) {}

Recorder::Note Recorder::NoteFor(const SiteCounters& counters, uint32_t vcpu, uint64_t before) {
  VcpuState& state = vcpus_[vcpu];
  bool timed = before % engine::kTimedOneIn == 0 ||
               counters.epoch.load(std::memory_order_relaxed) != state.epoch;
  bool tracing = tracing_.load(std::memory_order_relaxed);
  if (tracing && state.budget.left()) {
    engine::BeginTraced(stats_.log(vcpu));
    return Note::kTraced;
  }
  SetMark(state);
  return timed ? Note::kTimed : Note::kCounted;
}

void Recorder::Record(Note note, SiteCounters& counters, uint32_t site,
                      const engine::HypercallFrame& frame, const Call& call, Path path,
                      const Times& times) {
  VcpuState& state = vcpus_[call.vcpu];
  uint64_t cycles = times.end - times.start;
  counters.epoch.store(state.epoch, std::memory_order_relaxed);
  engine::TimeCall(counters, path, cycles, times.now);
  bool traced = note == Note::kTraced;
  if (traced || state.budget.KeepRecent(times.end)) {
    engine::CallNote record{times.now, frame.gva, call.number, {},       call.result,
                            cycles,    site,      path,        frame.cpl};
    std::copy(std::begin(call.args), std::end(call.args), std::begin(record.args));
    CallLog& log = stats_.log(call.vcpu);
    if (traced) {
      engine::AppendRecord(log.traced, stats_.ring(call.vcpu).records, record);
      state.budget.Spend();
    } else {
      engine::AppendRecord(log.kept, log.recent, record);
    }
  }
  // Whoever reads the clock looks whether the budget has grown meanwhile.
  if (!state.budget.left()) {
    state.budget.Refill(times.end);
    SetMark(state);
  }
}

// The vCPU's own mark; again where SetTracing came in between, lest its mark be lost.
void Recorder::SetMark(VcpuState& state) {
  bool tracing;
  do {
    tracing = tracing_;
    state.mark = tracing && state.budget.left() ? kTracingMark : state.epoch;
  } while (tracing != tracing_);
}

void Recorder::BeginEpoch(uint32_t vcpu) {
  VcpuState& state = vcpus_[vcpu];
  ++state.epoch;
  SetMark(state);
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
    CallLog& log = stats_.log(vcpu);
    for (auto& path : c.calls) {
      for (auto& value : path) {
        engine::Bump(log.forgotten, value.load(std::memory_order_relaxed));
        value = 0;
      }
    }
    for (auto& value : c.cycles) value = 0;
    for (auto& value : c.timed) value = 0;
    for (auto& histogram : c.histogram) {
      for (auto& value : histogram) value = 0;
    }
    for (auto& value : c.number) value = 0;
    c.first_use = c.last_use = c.epoch = 0;
  }
}

}  // namespace trapline::hypercall
