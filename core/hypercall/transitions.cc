// SPDX-License-Identifier: Apache-2.0
// How sites change: made, rewritten, linked, reverted, retired, pinned. Every change of bytes or
// state happens within RunExclusive.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/log.h"
#include "core/hypercall/site_internal.h"

namespace trapline::hypercall {
namespace {

constexpr uint64_t kPageMask = 4095;

uint64_t PageOf(uint64_t gpa) { return gpa & ~kPageMask; }

absl::Status CheckPolicy(const Policy& policy) {
  if (policy.limit < Technique::kEmulate || policy.limit > Technique::kLinked) {
    return absl::InvalidArgumentError("limit: must be emulate, interrupt or linked");
  }
  if (policy.interrupt_after == 0)
    return absl::InvalidArgumentError("interrupt_after: must be at least 1");
  if (policy.linked_after == 0)
    return absl::InvalidArgumentError("linked_after: must be at least 1");
  return absl::OkStatus();
}

absl::Status NoSite(uint64_t gpa) {
  return absl::NotFoundError(absl::StrCat("no site at 0x", absl::Hex(gpa)));
}

// Whether calls come in there.
bool Listed(SiteState state) {
  return state != SiteState::kNone && state != SiteState::kRetired &&
         state != SiteState::kAmbiguous;
}

// Why a site could not be linked; kNone where it was.
Reason WhyNot(engine::RewriteResult result) {
  switch (result) {
    case engine::RewriteResult::kDone:
      return Reason::kNone;
    case engine::RewriteResult::kJumpOutside:
      return Reason::kJumpOutside;
    case engine::RewriteResult::kJumpIntoRam:
      return Reason::kJumpIntoRam;
    case engine::RewriteResult::kJumpIntoOwn:
      return Reason::kJumpIntoOwn;
    case engine::RewriteResult::kBytesChanged:
    case engine::RewriteResult::kJumpUnplanned:
      return Reason::kJumpUnplanned;
  }
  return Reason::kJumpUnplanned;
}

Technique TechniqueOf(SiteState state) {
  switch (state) {
    case SiteState::kPatched:
    case SiteState::kDirect:
      return Technique::kInterrupt;
    case SiteState::kLinked:
      return Technique::kLinked;
    default:
      return Technique::kEmulate;
  }
}

}  // namespace

HypercallCore::Site* HypercallCore::FindOrMake(uint32_t vcpu, uint64_t gpa, SiteState state,
                                               Reason reason, uint64_t gva, uint8_t cpl,
                                               std::span<const std::byte, kSiteLength> bytes) {
  Site* site = Find(gpa);
  if (site && Listed(site->state.load(std::memory_order_acquire))) return site;
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    site = Find(gpa);
    bool made = !site;
    if (made) {
      absl::Status room = sites_.size() < kMaxSites
                              ? stats_->ReserveSite(static_cast<uint32_t>(sites_.size()))
                              : absl::ResourceExhaustedError("there are as many as can be");
      if (!room.ok()) {
        if (!std::exchange(full_, true)) {
          base::Log(base::LogLevel::kWarning,
                    absl::StrCat("hypercalls at further sites are served but not recorded: ",
                                 room.message()));
        }
        return;
      }
      site = sites_.emplace_back(std::make_unique<Site>()).get();
      site->gpa = gpa;
      site->index = static_cast<uint32_t>(sites_.size() - 1);
      if (auto preset = preset_.find(gpa); preset != preset_.end()) site->policy = preset->second;
    } else if (Listed(site->state)) {
      return;
    }
    site->gva = gva;
    site->symbol.clear();
    site->cpl = cpl;
    std::memcpy(site->original.data(), bytes.data(), kSiteLength);
    bool pinned = state == SiteState::kTrapping && PolicyOf(*site).limit == Technique::kEmulate;
    MoveTo(site, pinned ? SiteState::kPinned : state,
           made ? (pinned ? Reason::kPolicy : reason) : Reason::kReappeared, vcpu);
    if (made) {
      Insert(site);
      stats_->header().site_count.store(static_cast<uint32_t>(sites_.size()),
                                        std::memory_order_release);
    }
  });
  Notify();
  return site;
}

Policy HypercallCore::PolicyOf(const Site& site) const { return site.policy.value_or(policy_); }

void HypercallCore::Publish(Site* site) {
  SiteRecord& record = stats_->site(site->index);
  uint32_t sequence = record.sequence.load(std::memory_order_relaxed);
  record.sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  record.state = static_cast<uint8_t>(site->state.load());
  record.technique = static_cast<uint8_t>(TechniqueOf(site->state));
  record.reason = static_cast<uint8_t>(site->reason);
  record.cpl = site->cpl;
  std::copy(site->original.begin(), site->original.end(), record.original);
  const std::byte* current = memory_.Find(site->gpa, kSiteLength);
  std::memcpy(record.current, current ? static_cast<const void*>(current) : record.original,
              kSiteLength);
  record.limit_override = site->policy ? static_cast<uint8_t>(site->policy->limit) : 0;
  record.interrupt_after = site->policy ? site->policy->interrupt_after : 0;
  record.linked_after = site->policy ? site->policy->linked_after : 0;
  record.gva = site->gva;
  record.gpa = site->gpa;
  record.transition_ns = site->transition_ns;
  size_t length = std::min(site->symbol.size(), kSymbolLength);
  std::memset(record.symbol, 0, kSymbolLength);
  std::memcpy(record.symbol, site->symbol.data(), length);
  record.sequence.store(sequence + 2, std::memory_order_release);
}

// Where there is no room for it, a transition is counted all the same.
void HypercallCore::Log(const SiteEvent& event) {
  StatsHeader& header = stats_->header();
  uint64_t before = header.transitions.load(std::memory_order_relaxed);
  auto place = static_cast<uint32_t>(before % kTransitionCapacity);
  if (stats_->ReserveTransition(place).ok()) {
    TransitionRecord& record = stats_->transition(place);
    Policy policy = PolicyOf(*sites_[event.site]);
    record.sequence.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    record.time_ns = event.time_ns;
    record.site = event.site;
    record.vcpu = event.vcpu;
    record.from = static_cast<uint8_t>(event.from);
    record.to = static_cast<uint8_t>(event.to);
    record.reason = static_cast<uint8_t>(event.reason);
    record.limit = static_cast<uint8_t>(policy.limit);
    record.interrupt_after = policy.interrupt_after;
    record.linked_after = policy.linked_after;
    record.sequence.store(before + 1, std::memory_order_release);
  }
  header.transitions.store(before + 1, std::memory_order_release);
  // A direct site was rewritten by nobody.
  auto rank = [](SiteState state) {
    return state == SiteState::kDirect ? Technique::kEmulate : TechniqueOf(state);
  };
  if (rank(event.to) > rank(event.from)) engine::Bump(header.patches);
  if (rank(event.from) != Technique::kEmulate && rank(event.to) == Technique::kEmulate)
    engine::Bump(header.reverts);
}

void HypercallCore::MoveTo(Site* site, SiteState state, Reason reason, uint32_t vcpu) {
  SiteState from = site->state.exchange(state);
  site->reason = reason;
  site->transition_ns = host_.Nanoseconds();
  site->calls_in_state = 0;
  SetDue(site);
  Publish(site);
  Settle(site);
  events_.push_back({site->index, site->gpa, from, state, reason, vcpu, site->transition_ns});
  Log(events_.back());
}

void HypercallCore::Settle(Site* site) {
  engine_.SettleSite(site->Spec(), Listed(site->state) && site->due_after == 0);
}

engine::RewriteResult HypercallCore::Rewrite(Site* site, engine::SiteEntry entry) {
  if (entry == site->entry) return engine::RewriteResult::kDone;
  engine::RewriteResult result = engine_.RewriteSite(site->Spec(), entry);
  if (result != engine::RewriteResult::kDone) return result;
  bool was = site->Rewritten();
  site->entry = entry;
  uint64_t page = PageOf(site->gpa);
  if (!was && site->Rewritten()) {
    rewritten_.emplace(page, site);
    engine_.SetShadowed(site->gpa, true);
  }
  if (was && !site->Rewritten()) {
    auto [first, last] = rewritten_.equal_range(page);
    auto mine = std::find_if(first, last, [&](const auto& entry) { return entry.second == site; });
    if (mine != last) rewritten_.erase(mine);
    if (rewritten_.count(page) == 0) engine_.SetShadowed(site->gpa, false);
  }
  return result;
}

void HypercallCore::SetDue(Site* site) {
  Policy policy = PolicyOf(*site);
  uint32_t due = 0;
  if (site->state == SiteState::kTrapping && policy.limit >= Technique::kInterrupt &&
      site->reason != Reason::kSpansPages)
    due = policy.interrupt_after;
  if (site->state == SiteState::kPatched && policy.limit >= Technique::kLinked &&
      site->reason < Reason::kJumpOutside)
    due = policy.linked_after;
  site->due_after = due;
}

void HypercallCore::Advance(Site* site, uint32_t vcpu, Path path) {
  uint32_t due = site->due_after.load(std::memory_order_relaxed);
  SiteState state = path == Path::kTrap ? SiteState::kTrapping : SiteState::kPatched;
  if (due == 0 || site->state.load(std::memory_order_relaxed) != state ||
      site->calls_in_state.fetch_add(1, std::memory_order_relaxed) + 1 < due)
    return;
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    // Somebody else was first, or a policy: perhaps by way of another state and back.
    due = site->due_after;
    if (site->state != state || due == 0 || site->calls_in_state < due) return;
    if (state == SiteState::kPatched) {
      Reason refused = WhyNot(Rewrite(site, engine::SiteEntry::kLinked));
      MoveTo(site, refused == Reason::kNone ? SiteState::kLinked : SiteState::kPatched,
             refused == Reason::kNone ? Reason::kCallThreshold : refused, vcpu);
      return;
    }
    if (!site->contiguous) {
      MoveTo(site, SiteState::kTrapping, Reason::kSpansPages, vcpu);
      return;
    }
    // The guest may have written here since the trap.
    if (Rewrite(site, engine::SiteEntry::kInterrupt) != engine::RewriteResult::kDone) return;
    MoveTo(site, SiteState::kPatched, Reason::kTrapThreshold, vcpu);
  });
  Notify();
}

void HypercallCore::Notify() {
  std::vector<SiteEvent> events;
  {
    absl::MutexLock lock(&mutex_);
    events.swap(events_);
  }
  if (!listener_) return;
  for (const SiteEvent& event : events) listener_(event);
}

// ---- The guest looks at, or writes over, rewritten bytes ----

void HypercallCore::BeforeShadowedWrite(uint32_t vcpu, uint64_t gpa, uint64_t size) {
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    std::vector<Site*> hit;
    auto [first, last] = rewritten_.equal_range(PageOf(gpa));
    for (auto it = first; it != last; ++it) {
      if (it->second->gpa < gpa + size && gpa < it->second->gpa + kSiteLength)
        hit.push_back(it->second);
    }
    for (Site* site : hit) {
      Rewrite(site, engine::SiteEntry::kTrap);
      MoveTo(site, SiteState::kRetired, Reason::kOverwritten, vcpu);
    }
  });
  Notify();
}

void HypercallCore::OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) {
  absl::MutexLock lock(&mutex_);
  auto [first, last] = rewritten_.equal_range(PageOf(gpa));
  for (auto it = first; it != last; ++it) {
    const Site& site = *it->second;
    if (fetch && site.gpa == gpa) continue;
    for (size_t i = 0; i < kSiteLength; ++i) {
      uint64_t at = site.gpa + i - gpa;
      if (at < bytes.size()) bytes[at] = std::byte{site.original[i]};
    }
  }
}

// ---- Control ----

// A site's state as its policy alone would have it: down at once, up by its own calls.
void HypercallCore::ApplyPolicy(Site* site, Reason reason) {
  Technique limit = PolicyOf(*site).limit;
  SiteState state = site->state;
  if (!Listed(state) || state == SiteState::kDirect) return;
  if (limit == Technique::kEmulate) {
    if (state == SiteState::kPinned) return;
    Rewrite(site, engine::SiteEntry::kTrap);
    MoveTo(site, SiteState::kPinned, reason, kNoVcpu);
  } else if (state == SiteState::kPinned || state == SiteState::kReverted) {
    MoveTo(site, SiteState::kTrapping, reason, kNoVcpu);
  } else if (limit == Technique::kInterrupt && state == SiteState::kLinked) {
    Rewrite(site, engine::SiteEntry::kInterrupt);
    MoveTo(site, SiteState::kPatched, reason, kNoVcpu);
  }
}

Policy HypercallCore::policy() const {
  absl::MutexLock lock(&mutex_);
  return policy_;
}

absl::Status HypercallCore::SetPolicy(const Policy& policy) {
  if (auto status = CheckPolicy(policy); !status.ok()) return status;
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    policy_ = policy;
    for (auto& site : sites_) {
      if (!site->policy && site->state != SiteState::kReverted)
        ApplyPolicy(site.get(), Reason::kPolicy);
      SetDue(site.get());
      Settle(site.get());
    }
  });
  Notify();
  return absl::OkStatus();
}

absl::Status HypercallCore::SetSitePolicy(uint64_t gpa, std::optional<Policy> policy) {
  if (policy) {
    if (auto status = CheckPolicy(*policy); !status.ok()) return status;
  }
  Site* site = Find(gpa);
  if (!site) return NoSite(gpa);
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    site->policy = policy;
    SetDue(site);
    Publish(site);
    ApplyPolicy(site, Reason::kPolicy);
    Settle(site);
  });
  Notify();
  return absl::OkStatus();
}

absl::Status HypercallCore::PresetSitePolicies(std::map<uint64_t, Policy> policies) {
  for (const auto& [gpa, policy] : policies) {
    if (auto status = CheckPolicy(policy); !status.ok()) return status;
  }
  absl::MutexLock lock(&mutex_);
  preset_ = std::move(policies);
  return absl::OkStatus();
}

absl::Status HypercallCore::Revert(uint64_t gpa) {
  Site* site = Find(gpa);
  if (!site) return NoSite(gpa);
  bool reverted = false;
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    if (!site->Rewritten()) return;
    Rewrite(site, engine::SiteEntry::kTrap);
    MoveTo(site, SiteState::kReverted, Reason::kRevertedByUser, kNoVcpu);
    reverted = true;
  });
  Notify();
  if (reverted) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("site 0x", absl::Hex(gpa),
                                                    " is not rewritten: it is ",
                                                    std::string(SiteStateName(site->state))));
}

absl::Status HypercallCore::ResetCounters(std::optional<uint64_t> gpa) {
  std::vector<uint32_t> indices;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& site : sites_) {
      if (!gpa || site->gpa == *gpa) indices.push_back(site->index);
    }
  }
  if (gpa && indices.empty()) return NoSite(*gpa);
  // Counters have one writer each, so its writer has to stand still meanwhile.
  engine_.RunHeld([&] {
    for (uint32_t index : indices) recorder_.Reset(index);
  });
  return absl::OkStatus();
}

void HypercallCore::Symbolize(const Symbolizer& symbolizer, uint64_t revision) {
  // vCPUs may be held meanwhile.
  constexpr size_t kPerBatch = 1024;
  // Whoever asks while another looks is not told that there are none before that one has done.
  absl::MutexLock one_at_a_time(&symbolizing_);
  std::vector<std::pair<Site*, std::string>> named;
  std::vector<std::pair<Site*, uint64_t>> unnamed;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& site : sites_) {
      bool looked_up = site->symbols_revision == revision && site->symbol_gva == site->gva;
      if (!site->symbol.empty() || looked_up) continue;
      site->symbols_revision = revision;
      site->symbol_gva = site->gva;
      unnamed.emplace_back(site.get(), site->gva);
    }
  }
  for (const auto& [site, gva] : unnamed) {
    std::string symbol = symbolizer(gva);
    if (!symbol.empty()) named.emplace_back(site, std::move(symbol));
  }
  for (size_t first = 0; first < named.size(); first += kPerBatch) {
    // Fields of a record change only while no vCPU executes.
    engine_.RunExclusive([&] {
      absl::MutexLock lock(&mutex_);
      for (size_t i = first; i < std::min(first + kPerBatch, named.size()); ++i) {
        auto& [site, symbol] = named[i];
        // Found again at another address meanwhile.
        if (site->gva != site->symbol_gva) continue;
        site->symbol = std::move(symbol);
        Publish(site);
      }
    });
  }
}

absl::StatusOr<uint64_t> HypercallCore::LinearAddressOf(uint64_t gpa) const {
  const Site* site = Find(gpa);
  if (!site) return NoSite(gpa);
  absl::MutexLock lock(&mutex_);
  return site->gva;
}

void HypercallCore::Reset() {
  engine_.RunExclusive([&] {
    absl::MutexLock lock(&mutex_);
    for (auto& site : sites_) {
      Rewrite(site.get(), engine::SiteEntry::kTrap);
      site->contiguous = true;
      if (site->state != SiteState::kRetired)
        MoveTo(site.get(), SiteState::kRetired, Reason::kReset, kNoVcpu);
    }
    direct_.clear();
    has_direct_ = false;
    engine::Bump(stats_->header().boots);
  });
  Notify();
}

absl::Status HypercallCore::SetTracing(bool on) {
  auto status = recorder_.SetTracing(on);
  if (status.ok()) engine_.TraceCalls(on);
  return status;
}

void HypercallCore::ListAmbiguous(uint64_t gpa) {
  const std::byte* bytes = memory_.Find(gpa, kSiteLength);
  if (!bytes) return;
  FindOrMake(kNoVcpu, gpa, SiteState::kAmbiguous, Reason::kUnconfirmed, gpa, 0,
             std::span<const std::byte, kSiteLength>(bytes, kSiteLength));
}

// ---- What guests ask for themselves ----

bool HypercallCore::RegisterDirectSites(uint64_t start, uint64_t length) {
  constexpr size_t kMaxRanges = 64;
  if (length == 0 || start + length < start) return false;
  absl::MutexLock lock(&mutex_);
  if (direct_.size() >= kMaxRanges) return false;
  direct_.push_back({start, start + length});
  has_direct_ = true;
  return true;
}

bool HypercallCore::LimitTechnique(uint64_t technique) {
  if (technique < static_cast<uint64_t>(Technique::kEmulate) ||
      technique > static_cast<uint64_t>(Technique::kLinked))
    return false;
  Policy wanted = policy();
  wanted.limit = static_cast<Technique>(technique);
  return SetPolicy(wanted).ok();
}

}  // namespace trapline::hypercall
