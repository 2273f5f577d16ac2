// SPDX-License-Identifier: Apache-2.0
// The trap-and-patch heart: is it a hypercall, whose site is it, serve it, count it, and rewrite
// the site so that the next call is cheaper.
//
// A site's life. `vmcall` at CPL 0 raises #UD in the engine; the run loop hands the trap to OnTrap,
// which finds or makes the site, serves the call and counts it. After Policy::interrupt_after traps
// the bytes become `int $0x1f; nop`: calls then come in by OnHypercallInterrupt, without a fault.
// After Policy::linked_after of those the site is linked: the engine has asked ResolveLinkedSite,
// and calls OnLinkedHypercall with the site at hand. A site that has come as far as its policy lets
// it is settled: an engine may serve calls there by itself from then on, and counts them as this
// does (site_counters.h).
//
// Why rewriting is safe. All fields that describe a site change within Engine::RunExclusive, one
// caller at a time, and the engine writes the bytes there (RewriteSite): `soft` while no vCPU
// executes, so that nobody can fetch half of a rewritten site, `direct` in an order that is safe
// under running ones (direct/code_writer.h). A vCPU may have trapped, or executed the interrupt,
// before a site moved on and come in after: it is served all the same, by the state that it finds.
// The engine compares the bytes once more, since the guest may have changed them after the trap.
// On `soft`, pages with rewritten bytes are shadowed: what the guest
// reads there is what it wrote; what it writes first puts the originals back and retires the site.
// A site whose bytes lie in two pages is never rewritten, as another mapping may join other pages
// there.
//
// Threads. The four entry points run on vCPU threads and take no lock on their fast ways: sites are
// never freed, the table that finds them by address only grows, and counters belong to the vCPU.
// mutex_ guards the rest; it is taken inside RunExclusive, never around it.
#pragma once

#include <stdlib.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/engine.h"
#include "core/hypercall/policy.h"
#include "core/hypercall/recorder.h"
#include "core/hypercall/services.h"
#include "core/hypercall/site.h"
#include "core/hypercall/stats_file.h"

namespace trapline::hypercall {

// Guest-physical RAM by host address, to show what stands at a site.
class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;
  // Null unless [gpa, gpa + size) is RAM in one piece.
  virtual std::byte* Find(uint64_t gpa, uint64_t size) = 0;
};

class HypercallCore final : public LedgerServices {
 public:
  using Listener = std::function<void(const SiteEvent&)>;
  using Symbolizer = std::function<std::string(uint64_t gva)>;

  // All references outlive the core. listener is called on the thread that made the transition,
  // with no lock held.
  HypercallCore(engine::Engine& engine, PhysicalMemory& memory, ServiceHost& host,
                std::unique_ptr<StatsFile> stats, const Policy& policy, Listener listener);
  ~HypercallCore() override;

  // --- Entry points, each on its vCPU's thread ---

  // An invalid opcode. kNotOurs: the guest's own fault. Otherwise the call was served and RIP
  // stands behind it.
  engine::HypercallOutcome OnTrap(uint32_t vcpu, engine::Vcpu& cpu, const engine::Exit::Trap& trap);
  engine::HypercallOutcome OnHypercallInterrupt(uint32_t vcpu, engine::HypercallFrame& frame,
                                                uint64_t gpa);
  void* ResolveLinkedSite(uint64_t gpa);
  engine::HypercallOutcome OnLinkedHypercall(uint32_t vcpu, void* site,
                                             engine::HypercallFrame& frame);
  void BeforeShadowedWrite(uint32_t vcpu, uint64_t gpa, uint64_t size);
  // The vCPU was interrupted or halted (Recorder).
  void BeginEpoch(uint32_t vcpu) { recorder_.BeginEpoch(vcpu); }
  // fetch: leaves a rewritten site that starts at gpa itself as it is.
  void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch);

  // --- Control, from any other thread; not within RunExclusive ---

  Policy policy() const;
  // For all sites without a policy of their own. INVALID_ARGUMENT for a limit of kNone or
  // thresholds of zero.
  absl::Status SetPolicy(const Policy& policy);
  // For one site; nothing: the VM's again. NOT_FOUND: no such site.
  absl::Status SetSitePolicy(uint64_t gpa, std::optional<Policy> policy);
  // The same for sites by GPA that are not there yet, as soon as they are.
  absl::Status PresetSitePolicies(std::map<uint64_t, Policy> policies);
  // Puts the original bytes back and leaves the site at emulate until a policy says otherwise.
  // NOT_FOUND, or FAILED_PRECONDITION where nothing is rewritten.
  absl::Status Revert(uint64_t gpa);
  // Zeroes the counters of one site, or of all (gpa of nothing).
  absl::Status ResetCounters(std::optional<uint64_t> gpa);
  // Turns recording of calls on and off; counting goes on either way. RESOURCE_EXHAUSTED where the
  // stats file has no room for the records.
  absl::Status SetTracing(bool on);
  // Bytes of a hypercall that the engine found at load and could not confirm to be an instruction:
  // listed, and left alone. While no vCPU runs.
  void ListAmbiguous(uint64_t gpa);
  // Looks the symbols of all sites up that have none yet, each once with symbols of the same
  // revision.
  void Symbolize(const Symbolizer& symbolizer, uint64_t revision);
  // Where a site was last found executed. NOT_FOUND: no such site.
  absl::StatusOr<uint64_t> LinearAddressOf(uint64_t gpa) const;
  // The VM starts over: nothing is rewritten, sites stay known and keep their counts. While no vCPU
  // runs, before memory is loaded anew.
  void Reset();

  // --- LedgerServices ---
  bool RegisterDirectSites(uint64_t start, uint64_t length) override;
  bool LimitTechnique(uint64_t technique) override;

 private:
  struct Site;
  struct Range {
    uint64_t start, end;
  };

  Site* Find(uint64_t gpa) const;
  // Null: the ledger or the stats file is full.
  Site* FindOrMake(uint32_t vcpu, uint64_t gpa, SiteState state, Reason reason, uint64_t gva,
                   uint8_t cpl, std::span<const std::byte, kSiteLength> bytes);
  void Insert(Site* site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Answers a call that nothing is recorded of, since the ledger is full.
  engine::HypercallOutcome ServeUnlisted(uint32_t vcpu, engine::HypercallFrame& frame);
  // start: when the call came in, or zero where only a timed call needs to know.
  engine::HypercallOutcome ServeAt(Site* site, uint32_t vcpu, engine::HypercallFrame& frame,
                                   Path path, uint64_t start);
  Policy PolicyOf(const Site& site) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetDue(Site* site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Brings the site to where its policy and counts want it.
  void Advance(Site* site, uint32_t vcpu, Path path);
  // Within RunExclusive.
  void MoveTo(Site* site, SiteState state, Reason reason, uint32_t vcpu)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Log(const SiteEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  engine::RewriteResult Rewrite(Site* site, engine::SiteEntry entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells the engine whether this site still waits for something.
  void Settle(Site* site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(Site* site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyPolicy(Site* site, Reason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Notify();

  engine::Engine& engine_;
  PhysicalMemory& memory_;
  ServiceHost& host_;
  const std::unique_ptr<StatsFile> stats_;
  const Listener listener_;
  Recorder recorder_;
  std::atomic<bool> has_direct_{false};

  static constexpr size_t kTableSize = kMaxSites * 2;
  struct Free {
    void operator()(std::atomic<Site*>* table) const { free(table); }
  };
  std::unique_ptr<std::atomic<Site*>[], Free> table_;  // open addressing by GPA; only grows

  absl::Mutex symbolizing_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  Policy policy_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Policy> preset_ ABSL_GUARDED_BY(mutex_);  // by GPA
  std::vector<std::unique_ptr<Site>> sites_ ABSL_GUARDED_BY(mutex_);
  std::multimap<uint64_t, Site*> rewritten_ ABSL_GUARDED_BY(mutex_);  // by page
  std::vector<Range> direct_ ABSL_GUARDED_BY(mutex_);
  bool full_ ABSL_GUARDED_BY(mutex_) = false;              // and somebody was told
  std::vector<SiteEvent> events_ ABSL_GUARDED_BY(mutex_);  // to be told once the lock is gone
};

}  // namespace trapline::hypercall
