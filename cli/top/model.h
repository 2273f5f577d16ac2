// SPDX-License-Identifier: Apache-2.0
// What is known of VMs and their sites, and how fast it changes.
//
// The watch of a VM names the sites that changed, with their counters as they are. Each revision of
// it is one tick of that VM: a site's rates are what was added since the tick before, and a site
// that a tick does not name had none. So a tick costs what changed, however many sites there are.
// Where nothing changes a watch is silent, and Quieten makes the ticks.
//
// Knows neither a daemon nor a terminal, and is not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/top/rate_history.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli::top {

namespace v1 = ::trapline::v1;

// A second of it.
struct Rates {
  double calls = 0;
  double traps = 0;
  double cycles = 0;
};

struct SiteKey {
  std::string vm;  // without "vms/"
  uint64_t gpa = 0;

  std::string name() const;  // vms/{vm}/sites/{gpa}
  friend bool operator==(const SiteKey&, const SiteKey&) = default;
};

// A site as the list shows it: the record without histograms and bytes, since there may be many.
struct TrackedSite {
  struct Number {
    uint64_t number = 0;
    std::string name;
    uint64_t calls = 0;
  };
  // It came from there into the state it is in.
  struct Change {
    v1::Site::State from = v1::Site::STATE_UNSPECIFIED;
    absl::Time time;
  };

  uint32_t vm = 0;  // Model::vm
  uint64_t gpa = 0;
  uint64_t gva = 0;
  std::string symbol;
  v1::Site::State state = v1::Site::STATE_UNSPECIFIED;
  uint64_t traps = 0;
  uint64_t fast_calls = 0;
  uint64_t cycles = 0;
  std::vector<Number> numbers;
  std::optional<Change> change;

  Rates rates;        // of `tick`; Model::RatesOf asks whether that is the latest
  uint64_t tick = 0;  // of its VM, when it last changed
  uint64_t snapshot = 0;
  RateHistory history;

  uint64_t calls() const { return traps + fast_calls; }
};

// How the watch of a VM stands.
enum class Link { kConnecting, kLive, kLost };

struct TrackedVm {
  std::string id;
  v1::Vm::State state = v1::Vm::STATE_UNSPECIFIED;
  std::string state_reason;
  v1::Engine engine = v1::ENGINE_UNSPECIFIED;
  Link link = Link::kConnecting;
  std::string trouble;  // why it is lost

  v1::SiteTotals totals;
  // Calls a second by trap, interrupt and linked; and cycles.
  std::array<double, 3> calls_by_path{};
  double cycles_rate = 0;
  uint64_t missed = 0;

  uint64_t ticks = 0;
  absl::Time ticked_at;
  absl::Time heard_at;  // the latest tick that was not of Quieten
  bool broken = false;  // the watch was lost since then
  uint64_t snapshots = 0;
  bool in_snapshot = false;
};

class Model {
 public:
  // How often a watch reports at most.
  explicit Model(absl::Duration interval) : interval_(interval) {}

  // All VMs there are: others go, with their sites.
  void SetVms(const std::vector<v1::Vm>& vms);
  void PutVm(const v1::Vm& vm);
  void SetVmState(absl::string_view id, v1::Vm::State state, absl::string_view reason);
  void RemoveVm(absl::string_view id);
  void SetLink(absl::string_view id, Link link, absl::string_view trouble = "");
  // Why it is not known which VMs there are; empty where it is.
  void SetTrouble(absl::string_view trouble) { trouble_ = std::string(trouble); }

  // A response of the watch of that VM; ignored where the VM has gone.
  void Apply(absl::string_view id, const v1::WatchSitesResponse& response, absl::Time now);
  // Ticks for the VMs of which nothing was heard for longer than an interval; true where there was
  // one.
  bool Quieten(absl::Time now);

  // In no order; indices are good until the next change.
  const std::vector<TrackedVm>& vms() const { return vms_; }
  const std::vector<TrackedSite>& sites() const { return sites_; }
  const TrackedVm& vm(const TrackedSite& site) const { return vms_[site.vm]; }
  const std::string& trouble() const { return trouble_; }
  const TrackedVm* FindVm(absl::string_view id) const;
  const TrackedSite* Find(const SiteKey& key) const;
  SiteKey KeyOf(const TrackedSite& site) const { return {vm(site).id, site.gpa}; }

  // Of the latest tick.
  Rates RatesOf(const TrackedSite& site) const;
  std::vector<float> HistoryOf(const TrackedSite& site, uint64_t count) const;
  // Of one call: in the latest tick where there were some, else ever. 0: never called.
  double CyclesPerCall(const TrackedSite& site) const;
  // Whether some VM has had two ticks, so that there are rates.
  bool has_rates() const;

 private:
  std::optional<uint32_t> IndexOf(absl::string_view id) const;
  void ApplySite(uint32_t vm, const v1::Site& site, double seconds, absl::Time now);
  double PeriodOf(const TrackedVm& vm, uint64_t missed, absl::Time now) const;
  // Drops the sites for which `gone` is true.
  template <typename Gone>
  void DropSites(Gone gone);

  const absl::Duration interval_;
  std::string trouble_;
  std::vector<TrackedVm> vms_;
  std::vector<TrackedSite> sites_;
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint32_t> by_address_;  // VM, GPA: in sites_
};

}  // namespace trapline::cli::top
