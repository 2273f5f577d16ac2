// SPDX-License-Identifier: Apache-2.0
// Adding up what grows between two looks at a stats file.
#include "daemon/metrics/call_tally.h"

#include <algorithm>
#include <limits>

#include "core/base/checked.h"

namespace trapline::daemon {
namespace {

uint64_t Sum(uint64_t a, uint64_t b) {
  return base::CheckedAdd(a, b).value_or(std::numeric_limits<uint64_t>::max());
}
uint64_t Growth(uint64_t before, uint64_t now) { return now < before ? now : now - before; }
uint64_t Less(uint64_t a, uint64_t b) { return a < b ? 0 : a - b; }

CallSums SumsOfSite(const hypercall::StatsReader& stats, uint64_t gpa) {
  for (const hypercall::SiteKey& key : stats.Keys()) {
    if (key.gpa != gpa) continue;
    auto site = stats.Site(key.index);
    if (site.ok()) return {site->calls, site->cycles};
  }
  return {};
}

}  // namespace

void CallSums::Add(const CallSums& more) {
  for (size_t path = 0; path < calls.size(); ++path) {
    calls[path] = Sum(calls[path], more.calls[path]);
    cycles[path] = Sum(cycles[path], more.cycles[path]);
  }
  patches = Sum(patches, more.patches);
  reverts = Sum(reverts, more.reverts);
}

CallSums CallSums::Since(const CallSums& before) const {
  CallSums growth;
  for (size_t path = 0; path < calls.size(); ++path) {
    growth.calls[path] = Growth(before.calls[path], calls[path]);
    growth.cycles[path] = Less(cycles[path], before.cycles[path]);
  }
  growth.patches = Growth(before.patches, patches);
  growth.reverts = Growth(before.reverts, reverts);
  return growth;
}

CallFigures ReadFigures(const hypercall::StatsReader& stats) {
  hypercall::SiteSums now = stats.Survey(nullptr);
  return {{now.calls, now.cycles, now.patches, now.reverts}, now.by_state};
}

// ---- One VM ----

void VmTally::Follow(Stats stats, v1::Engine engine, bool anew) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return;
  Look();
  stats_ = std::move(stats);
  engine_ = engine;
  last_ = stats_ && !anew ? ReadFigures(*stats_) : CallFigures();
}

void VmTally::Look() {
  if (!stats_ || resetting_) return;
  CallFigures now = ReadFigures(*stats_);
  CallSums more = now.sums.Since(last_.sums);
  sums_.Add(more);
  tally_->Add(engine_, more, naming_ == Naming::kOthers);
  // An estimate that was corrected downwards has to come up again before it adds.
  for (size_t path = 0; path < now.sums.cycles.size(); ++path)
    now.sums.cycles[path] = std::max(now.sums.cycles[path], last_.sums.cycles[path]);
  last_ = now;
}

void VmTally::AroundReset(std::optional<uint64_t> gpa, const std::function<bool()>& reset) {
  absl::MutexLock one_reset(&reset_mutex_);
  CallSums zeroed;
  {
    absl::MutexLock lock(&mutex_);
    Look();
    if (!gpa) zeroed = last_.sums;
    if (gpa && stats_) zeroed = SumsOfSite(*stats_, *gpa);
    resetting_ = true;
  }
  // Not under mutex_: the worker may take its time, and then nobody else has to.
  bool done = reset();
  absl::MutexLock lock(&mutex_);
  resetting_ = false;
  if (!done) return;
  for (size_t path = 0; path < zeroed.calls.size(); ++path) {
    last_.sums.calls[path] = Less(last_.sums.calls[path], zeroed.calls[path]);
    last_.sums.cycles[path] = Less(last_.sums.cycles[path], zeroed.cycles[path]);
  }
}

void VmTally::Close() {
  bool named;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    Look();
    closed_ = true;
    stats_ = nullptr;
    named = naming_ == Naming::kNamed;
  }
  tally_->Remove(this, named);
}

// ---- All ----

std::shared_ptr<VmTally> CallTally::Open(const std::string& vm) {
  auto opened = std::make_shared<VmTally>(shared_from_this(), vm);
  absl::MutexLock lock(&mutex_);
  vms_.push_back(opened);
  return opened;
}

void CallTally::Add(v1::Engine engine, const CallSums& more, bool others) {
  absl::MutexLock lock(&mutex_);
  by_engine_[engine].Add(more);
  if (others) others_->Add(more);
}

void CallTally::Remove(const VmTally* vm, bool named) {
  absl::MutexLock lock(&mutex_);
  vms_.erase(std::find_if(vms_.begin(), vms_.end(), [&](auto& open) { return open.get() == vm; }));
  if (named) --named_;
}

bool CallTally::TakeName() {
  absl::MutexLock lock(&mutex_);
  if (named_ == max_named_) return false;
  ++named_;
  return true;
}

void CallTally::AddToOthers(const CallSums& sums) {
  absl::MutexLock lock(&mutex_);
  if (!others_) others_.emplace();
  others_->Add(sums);
}

CallTally::Report CallTally::Read() {
  std::vector<std::shared_ptr<VmTally>> vms;
  {
    absl::MutexLock lock(&mutex_);
    vms = vms_;
  }
  Report report;
  uint64_t sites_of_others = 0;
  for (const auto& vm : vms) {
    absl::MutexLock lock(&vm->mutex_);
    if (vm->closed_) continue;
    vm->Look();
    uint64_t sites = 0;
    for (size_t state = 0; state < hypercall::kSiteStates; ++state) {
      report.sites[state] += vm->last_.sites[state];
      sites += vm->last_.sites[state];
    }
    if (vm->naming_ == VmTally::Naming::kUndecided) {
      vm->naming_ = TakeName() ? VmTally::Naming::kNamed : VmTally::Naming::kOthers;
      if (vm->naming_ == VmTally::Naming::kOthers) AddToOthers(vm->sums_);
    }
    if (vm->naming_ == VmTally::Naming::kNamed) {
      report.named.push_back({vm->vm_, vm->sums_, sites});
    } else {
      sites_of_others += sites;
    }
  }
  absl::MutexLock lock(&mutex_);
  report.by_engine = by_engine_;
  if (others_) report.others = Vm{"", *others_, sites_of_others};
  return report;
}

}  // namespace trapline::daemon
