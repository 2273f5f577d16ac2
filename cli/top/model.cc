// SPDX-License-Identifier: Apache-2.0
// What is known of VMs and their sites, and how fast it changes.
#include "cli/top/model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

// A watch may be late by so much of its interval before it counts as silent.
constexpr double kLateness = 1.5;

// What was added. A counter that is less than before was reset in between.
uint64_t Added(uint64_t now, uint64_t before) { return now >= before ? now - before : now; }

uint64_t CyclesOf(const v1::Site& site) {
  uint64_t cycles = 0;
  for (const auto& path : site.paths()) cycles += path.cycles();
  return cycles;
}

std::string IdOf(absl::string_view name) {
  absl::ConsumePrefix(&name, "vms/");
  return std::string(name);
}

bool IsRewritten(v1::Site::State state) {
  return state == v1::Site::PATCHED || state == v1::Site::LINKED;
}

}  // namespace

std::string SiteKey::name() const { return absl::StrCat("vms/", vm, "/sites/", Hex(gpa)); }

void Model::SetVms(const std::vector<v1::Vm>& vms) {
  std::vector<std::string> gone;
  for (const TrackedVm& known : vms_) {
    if (std::none_of(vms.begin(), vms.end(),
                     [&](const v1::Vm& vm) { return IdOf(vm.name()) == known.id; }))
      gone.push_back(known.id);
  }
  for (const std::string& id : gone) RemoveVm(id);
  for (const v1::Vm& vm : vms) PutVm(vm);
}

void Model::PutVm(const v1::Vm& vm) {
  const std::string id = IdOf(vm.name());
  std::optional<uint32_t> index = IndexOf(id);
  if (!index) {
    index = vms_.size();
    vms_.emplace_back().id = id;
  }
  TrackedVm& known = vms_[*index];
  known.state = vm.state();
  known.state_reason = vm.state_reason();
  known.engine = vm.engine();
}

void Model::SetVmState(absl::string_view id, v1::Vm::State state, absl::string_view reason) {
  const std::optional<uint32_t> index = IndexOf(id);
  if (!index) return;
  vms_[*index].state = state;
  vms_[*index].state_reason = std::string(reason);
}

void Model::RemoveVm(absl::string_view id) {
  const std::optional<uint32_t> index = IndexOf(id);
  if (!index) return;
  const auto last = static_cast<uint32_t>(vms_.size() - 1);
  DropSites([&](const TrackedSite& site) { return site.vm == *index; });
  if (*index != last) {
    vms_[*index] = std::move(vms_[last]);
    for (TrackedSite& site : sites_) {
      if (site.vm == last) site.vm = *index;
    }
    DropSites([](const TrackedSite&) { return false; });
  }
  vms_.pop_back();
}

void Model::SetLink(absl::string_view id, Link link, absl::string_view trouble) {
  const std::optional<uint32_t> index = IndexOf(id);
  if (!index) return;
  vms_[*index].link = link;
  if (link == Link::kLost) vms_[*index].broken = true;
  vms_[*index].trouble = std::string(trouble);
}

void Model::Apply(absl::string_view id, const v1::WatchSitesResponse& response, absl::Time now) {
  const std::optional<uint32_t> index = IndexOf(id);
  if (!index) return;
  TrackedVm& vm = vms_[*index];
  if (response.snapshot()) {
    ++vm.snapshots;
    vm.in_snapshot = true;
  }
  vm.missed += response.missed();
  const double seconds = PeriodOf(vm, response.missed(), now);
  for (const v1::Site& site : response.sites()) ApplySite(*index, site, seconds, now);
  if (response.more()) return;
  if (vm.in_snapshot) {
    vm.in_snapshot = false;
    DropSites([&](const TrackedSite& site) {
      return site.vm == *index && site.snapshot != vms_[*index].snapshots;
    });
  }
  const v1::SiteTotals& totals = response.totals();
  if (vm.ticks > 0) {
    const auto rate = [&](uint64_t after, uint64_t before) {
      return static_cast<double>(Added(after, before)) / seconds;
    };
    vm.calls_by_path = {rate(totals.traps(), vm.totals.traps()),
                        rate(totals.interrupt_calls(), vm.totals.interrupt_calls()),
                        rate(totals.linked_calls(), vm.totals.linked_calls())};
    vm.cycles_rate = rate(totals.cycles(), vm.totals.cycles());
  }
  vm.totals = totals;
  ++vm.ticks;
  vm.ticked_at = vm.heard_at = now;
  vm.broken = false;
}

bool Model::Quieten(absl::Time now) {
  bool any = false;
  for (TrackedVm& vm : vms_) {
    if (vm.ticks == 0 || now - vm.ticked_at < interval_ * kLateness) continue;
    vm.calls_by_path = {};
    vm.cycles_rate = 0;
    ++vm.ticks;
    vm.ticked_at = now;
    any = true;
  }
  return any;
}

const TrackedVm* Model::FindVm(absl::string_view id) const {
  const std::optional<uint32_t> index = IndexOf(id);
  return index ? &vms_[*index] : nullptr;
}

const TrackedSite* Model::Find(const SiteKey& key) const {
  const std::optional<uint32_t> vm = IndexOf(key.vm);
  if (!vm) return nullptr;
  const auto found = by_address_.find({*vm, key.gpa});
  return found == by_address_.end() ? nullptr : &sites_[found->second];
}

Rates Model::RatesOf(const TrackedSite& site) const {
  return site.tick >= vm(site).ticks ? site.rates : Rates();
}

std::vector<float> Model::HistoryOf(const TrackedSite& site, uint64_t count) const {
  return site.history.Last(vm(site).ticks, count);
}

double Model::CyclesPerCall(const TrackedSite& site) const {
  const Rates rates = RatesOf(site);
  if (rates.calls > 0) return rates.cycles / rates.calls;
  return site.calls() == 0 ? 0
                           : static_cast<double>(site.cycles) / static_cast<double>(site.calls());
}

bool Model::has_rates() const {
  return std::any_of(vms_.begin(), vms_.end(), [](const TrackedVm& vm) { return vm.ticks > 1; });
}

std::optional<uint32_t> Model::IndexOf(absl::string_view id) const {
  for (uint32_t i = 0; i < vms_.size(); ++i) {
    if (vms_[i].id == id) return i;
  }
  return std::nullopt;
}

void Model::ApplySite(uint32_t vm_index, const v1::Site& site, double seconds, absl::Time now) {
  const TrackedVm& vm = vms_[vm_index];
  const auto [found, is_new] =
      by_address_.try_emplace({vm_index, site.gpa()}, static_cast<uint32_t>(sites_.size()));
  if (is_new) sites_.emplace_back();
  TrackedSite& known = sites_[found->second];
  known.vm = vm_index;
  known.gpa = site.gpa();
  const uint64_t cycles = CyclesOf(site);
  // What a site had done before it was first heard of is no rate, unless it was found since.
  if (!is_new || vm.ticks > 0) {
    const double traps = static_cast<double>(Added(site.traps(), known.traps)) / seconds;
    const double fast = static_cast<double>(Added(site.fast_calls(), known.fast_calls)) / seconds;
    known.rates = {traps + fast, traps, static_cast<double>(Added(cycles, known.cycles)) / seconds};
    known.tick = vm.ticks + 1;
    known.history.Put(known.tick, static_cast<float>(known.rates.calls));
    // Every site begins trapping, though that may not have been seen.
    const v1::Site::State from = is_new ? v1::Site::TRAPPING : known.state;
    if (is_new ? IsRewritten(site.state()) : from != site.state())
      known.change = TrackedSite::Change{from, now};
  }
  known.gva = site.gva();
  known.symbol = site.symbol();
  known.state = site.state();
  known.traps = site.traps();
  known.fast_calls = site.fast_calls();
  known.cycles = cycles;
  known.snapshot = vm.snapshots;
  known.numbers.clear();
  for (const auto& number : site.numbers())
    known.numbers.push_back({number.number(), number.name(), number.calls()});
}

double Model::PeriodOf(const TrackedVm& vm, uint64_t missed, absl::Time now) const {
  absl::Duration period = now - vm.heard_at;
  // A watch that was silent says that the change is of the last interval, unless it may not have
  // been able to speak.
  const bool silent = vm.ticked_at > vm.heard_at && !vm.broken && missed == 0;
  if (vm.ticks == 0 || silent) period = interval_;
  return absl::ToDoubleSeconds(std::max(period, absl::Milliseconds(1)));
}

template <typename Gone>
void Model::DropSites(Gone gone) {
  sites_.erase(std::remove_if(sites_.begin(), sites_.end(), gone), sites_.end());
  by_address_.clear();
  for (uint32_t i = 0; i < sites_.size(); ++i) by_address_[{sites_[i].vm, sites_[i].gpa}] = i;
}

}  // namespace trapline::cli::top
