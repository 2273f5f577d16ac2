// SPDX-License-Identifier: Apache-2.0
// Names and explanations of what is counted of hypercalls. No address and no symbol of a guest's
// becomes a label: a guest could make up any number of them.
#include "daemon/metrics/call_metrics.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "daemon/metrics/families.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::daemon {
namespace {

constexpr std::array<const char*, hypercall::kPathCount> kTechniques = {"emulate", "interrupt",
                                                                        "linked"};
constexpr auto kTrap = static_cast<size_t>(hypercall::Path::kTrap);

// The API's names have the order of the core's.
static_assert(static_cast<int>(hypercall::SiteState::kAmbiguous) == v1::Site::AMBIGUOUS);

std::string StateLabel(size_t state) {
  return absl::AsciiStrToLower(v1::Site::State_Name(static_cast<int>(state)));
}

void AddTechniques(prometheus::MetricFamily* family, const MetricLabels& labels,
                   const std::array<uint64_t, hypercall::kPathCount>& values) {
  for (size_t path = 0; path < values.size(); ++path) {
    MetricLabels all = labels;
    all.push_back({"technique", kTechniques[path]});
    AddValue(family, std::move(all), static_cast<double>(values[path]));
  }
}

void AppendTotals(const CallTally::Report& report, std::vector<prometheus::MetricFamily>* to) {
  auto calls = CounterFamily(
      "trapline_hypercalls_total",
      "Hypercalls that guests made, by how they came in: emulate (the instruction faulted), "
      "interrupt (rewritten to int $0x1f, or written so), linked (rewritten to enter without a "
      "fault). Sites get faster the more they are used, so emulate should fade out.");
  auto traps = CounterFamily(
      "trapline_traps_total",
      "Hypercalls that faulted to come in, the slow way; those of technique emulate once more.");
  auto cycles = CounterFamily(
      "trapline_hypercall_cycles_total",
      "Host cycles that hypercalls took, estimated from those that were timed. Its rate over that "
      "of trapline_hypercalls_total is what one call costs.");
  auto patches = CounterFamily(
      "trapline_site_patches_total",
      "Rewrites of hypercall instructions in guest memory, one for each technique that a site "
      "moved up to.");
  auto reverts = CounterFamily("trapline_site_reverts_total",
                               "Rewritten sites that got their original bytes back.");
  std::map<v1::Engine, CallSums> engines = report.by_engine;
  // There from the start, so that rates have a zero to begin from.
  for (v1::Engine engine : {v1::ENGINE_SOFT, v1::ENGINE_DIRECT}) engines[engine];
  for (const auto& [engine, sums] : engines) {
    MetricLabels labels = {{"engine", EngineLabel(engine)}};
    AddTechniques(&calls, labels, sums.calls);
    AddTechniques(&cycles, labels, sums.cycles);
    AddValue(&traps, labels, static_cast<double>(sums.calls[kTrap]));
    AddValue(&patches, labels, static_cast<double>(sums.patches));
    AddValue(&reverts, labels, static_cast<double>(sums.reverts));
  }
  for (auto* family : {&calls, &traps, &cycles, &patches, &reverts})
    to->push_back(std::move(*family));
}

void AppendSites(const CallTally::Report& report, std::vector<prometheus::MetricFamily>* to) {
  auto sites = GaugeFamily("trapline_sites",
                           "Hypercall instructions found in guest memory, by what became of them.");
  for (size_t state = v1::Site::TRAPPING; state < report.sites.size(); ++state)
    AddValue(&sites, {{"state", StateLabel(state)}}, static_cast<double>(report.sites[state]));
  to->push_back(std::move(sites));
}

void AppendVms(const CallTally::Report& report, std::vector<prometheus::MetricFamily>* to) {
  auto calls = CounterFamily(
      "trapline_vm_hypercalls_total",
      "A VM's hypercalls by how they came in. So many VMs have series of their own as "
      "--metrics-max-vms says; the rest is summed up in vm=\"_other\". A VM that is deleted takes "
      "its series along; trapline_hypercalls_total keeps the sum.");
  auto sites = GaugeFamily("trapline_vm_sites", "Hypercall instructions found in a VM's memory.");
  auto add = [&](const CallTally::Vm& vm, const std::string& name) {
    AddTechniques(&calls, {{"vm", name}}, vm.sums.calls);
    AddValue(&sites, {{"vm", name}}, static_cast<double>(vm.sites));
  };
  for (const CallTally::Vm& vm : report.named) add(vm, vm.name);
  if (report.others) add(*report.others, kOtherVms);
  to->push_back(std::move(calls));
  to->push_back(std::move(sites));
}

}  // namespace

std::string EngineLabel(v1::Engine engine) {
  switch (engine) {
    case v1::ENGINE_SOFT:
      return "soft";
    case v1::ENGINE_DIRECT:
      return "direct";
    case v1::ENGINE_KVM:
      return "kvm";
    default:
      return "none";
  }
}

std::vector<prometheus::MetricFamily> CallFamilies(const CallTally::Report& report) {
  std::vector<prometheus::MetricFamily> families;
  AppendTotals(report, &families);
  AppendSites(report, &families);
  AppendVms(report, &families);
  return families;
}

}  // namespace trapline::daemon
