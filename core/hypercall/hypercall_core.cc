// SPDX-License-Identifier: Apache-2.0
// Entry points and serving: what happens on every call. Transitions are in
// transitions.cc.
#include "core/hypercall/hypercall_core.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/cycles.h"
#include "core/hypercall/recognition.h"
#include "core/hypercall/site_internal.h"

namespace trapline::hypercall {
namespace {

// tests/bench/counting.sh compares with a build that counts a site's first calls alone, which
// policy needs.
#if defined(TRAPLINE_WITHOUT_COUNTING)
constexpr bool kCounting = false;
#else
constexpr bool kCounting = true;
#endif

// Whether a site has had its first calls by this path, which there is no telling without counters.
bool Warm(const SiteCounters& counters, Path path) {
  constexpr uint64_t kWarmUp = 32;
  return counters.calls[static_cast<size_t>(path)][0].load(std::memory_order_relaxed) >= kWarmUp;
}

uint64_t ArgumentMask(const engine::HypercallFrame& frame) {
  return frame.long_mode ? ~uint64_t{0} : 0xffffffff;
}

Call CallOf(const engine::HypercallFrame& frame, uint32_t vcpu) {
  auto& gpr = frame.gpr;
  uint64_t mask = ArgumentMask(frame);
  return {.vcpu = vcpu,
          .number = gpr[x86::kRax] & mask,
          .args = {gpr[x86::kRbx] & mask, gpr[x86::kRcx] & mask, gpr[x86::kRdx] & mask,
                   gpr[x86::kRsi] & mask}};
}

size_t Hash(uint64_t gpa, size_t size) { return (gpa * 0x9e3779b97f4a7c15u >> 32) & (size - 1); }

}  // namespace

HypercallCore::HypercallCore(engine::Engine& engine, PhysicalMemory& memory, ServiceHost& host,
                             std::unique_ptr<StatsFile> stats, const Policy& policy,
                             Listener listener)
    : engine_(engine),
      memory_(memory),
      host_(host),
      stats_(std::move(stats)),
      listener_(std::move(listener)),
      recorder_(*stats_),
      // Zero pages from the kernel, which cost nothing until there is a site in them: most VMs have
      // few sites.
      table_(static_cast<std::atomic<Site*>*>(calloc(kTableSize, sizeof(std::atomic<Site*>)))),
      policy_(policy) {
  if (!table_) throw std::bad_alloc();
}

HypercallCore::~HypercallCore() = default;

HypercallCore::Site* HypercallCore::Find(uint64_t gpa) const {
  for (size_t i = Hash(gpa, kTableSize);; i = (i + 1) & (kTableSize - 1)) {
    Site* site = table_[i].load(std::memory_order_acquire);
    if (!site || site->gpa == gpa) return site;
  }
}

void HypercallCore::Insert(Site* site) {
  size_t i = Hash(site->gpa, kTableSize);
  while (table_[i].load(std::memory_order_relaxed)) i = (i + 1) & (kTableSize - 1);
  table_[i].store(site, std::memory_order_release);
}

// ---- The ways in ----

engine::HypercallOutcome HypercallCore::OnTrap(uint32_t vcpu, engine::Vcpu& cpu,
                                               const engine::Exit::Trap& trap) {
  if (trap.cpl != 0 || trap.length < kSiteLength || !IsHypercall(trap.bytes))
    return engine::HypercallOutcome::kNotOurs;
  uint64_t raised = trap.raised;
  Site* site = Find(trap.gpa[0]);
  SiteState state = site ? site->state.load(std::memory_order_acquire) : SiteState::kNone;
  if (!site || state == SiteState::kRetired || state == SiteState::kAmbiguous) {
    // Making a site stops all vCPUs, which is no part of what calls there cost.
    uint64_t before = base::HostCycles();
    site = FindOrMake(vcpu, trap.gpa[0], SiteState::kTrapping, Reason::kFirstTrap, trap.gva,
                      trap.cpl, trap.bytes);
    raised += base::HostCycles() - before;
  }
  engine::HypercallFrame frame = cpu.Frame();
  cpu.SetRip(frame.rip + kSiteLength);
  if (!site) return ServeUnlisted(vcpu, frame);
  if (!site->contiguous.load(std::memory_order_relaxed) ||
      trap.gpa[kSiteLength - 1] != trap.gpa[0] + kSiteLength - 1 ||
      (trap.gpa[0] ^ trap.gpa[kSiteLength - 1]) >> 12) {
    site->contiguous.store(false, std::memory_order_relaxed);
  }
  auto outcome = ServeAt(site, vcpu, frame, Path::kTrap, raised);
  Advance(site, vcpu, Path::kTrap);
  return outcome;
}

engine::HypercallOutcome HypercallCore::OnHypercallInterrupt(uint32_t vcpu,
                                                             engine::HypercallFrame& frame,
                                                             uint64_t gpa) {
  Site* site = Find(gpa);
  if (site && site->state.load(std::memory_order_acquire) >= SiteState::kPatched &&
      site->state.load(std::memory_order_relaxed) <= SiteState::kLinked) {
    if (frame.cpl != 0)
      return engine::HypercallOutcome::kInvalidOpcode;  // `vmcall` in user mode is no hypercall
    frame.length = kSiteLength;
    auto outcome = ServeAt(site, vcpu, frame, Path::kInterrupt, 0);
    Advance(site, vcpu, Path::kInterrupt);
    return outcome;
  }
  if (!has_direct_.load(std::memory_order_acquire) || frame.cpl != 0)
    return engine::HypercallOutcome::kNotOurs;
  if (!site || site->state.load() != SiteState::kDirect) {
    {
      absl::MutexLock lock(&mutex_);
      bool registered = std::any_of(direct_.begin(), direct_.end(),
                                    [&](const Range& r) { return gpa >= r.start && gpa < r.end; });
      if (!registered) return engine::HypercallOutcome::kNotOurs;
    }
    constexpr std::byte kBytes[kSiteLength] = {std::byte{0xcd}, std::byte{0x1f}, std::byte{0x90}};
    site =
        FindOrMake(vcpu, gpa, SiteState::kDirect, Reason::kGuestCode, frame.gva, frame.cpl, kBytes);
    if (!site) return ServeUnlisted(vcpu, frame);
  }
  return ServeAt(site, vcpu, frame, Path::kInterrupt, 0);
}

void* HypercallCore::ResolveLinkedSite(uint64_t gpa) {
  Site* site = Find(gpa);
  return site && site->state.load(std::memory_order_acquire) == SiteState::kLinked ? site : nullptr;
}

engine::HypercallOutcome HypercallCore::OnLinkedHypercall(uint32_t vcpu, void* handle,
                                                          engine::HypercallFrame& frame) {
  if (frame.cpl != 0) return engine::HypercallOutcome::kInvalidOpcode;
  frame.length = kSiteLength;
  return ServeAt(static_cast<Site*>(handle), vcpu, frame, Path::kLinked, 0);
}

// ---- Serving ----

engine::HypercallOutcome HypercallCore::ServeUnlisted(uint32_t vcpu,
                                                      engine::HypercallFrame& frame) {
  Call call = CallOf(frame, vcpu);
  Serve(host_, *this, call);
  frame.gpr[x86::kRax] = call.result & ArgumentMask(frame);
  return call.outcome;
}

engine::HypercallOutcome HypercallCore::ServeAt(Site* site, uint32_t vcpu,
                                                engine::HypercallFrame& frame, Path path,
                                                uint64_t start) {
  Call call = CallOf(frame, vcpu);
  SiteCounters& counters = stats_->counters(vcpu, site->index);
  if (!kCounting && Warm(counters, path)) {
    Serve(host_, *this, call);
    frame.gpr[x86::kRax] = call.result & ArgumentMask(frame);
    return call.outcome;
  }
  Recorder::Note note = recorder_.Count(counters, vcpu, call.number, path);
  if (start != 0) note = std::max(note, Recorder::Note::kTimed);
  if (note != Recorder::Note::kCounted && start == 0)
    start = frame.raised != 0 ? frame.raised : base::HostCycles();
  Serve(host_, *this, call);
  frame.gpr[x86::kRax] = call.result & ArgumentMask(frame);
  if (note != Recorder::Note::kCounted) [[unlikely]] {
    uint64_t end = base::HostCycles();
    recorder_.Record(note, counters, site->index, frame, call, path,
                     {.start = start, .end = end, .now = host_.TicksAt(end)});
  }
  return call.outcome;
}

}  // namespace trapline::hypercall
