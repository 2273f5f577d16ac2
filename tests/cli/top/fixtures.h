// SPDX-License-Identifier: Apache-2.0
// Sites and responses to feed a model with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/top/model.h"
#include "cli/units.h"

namespace trapline::cli::top {

inline const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

inline v1::Vm RunningVm(const std::string& id, v1::Engine engine = v1::ENGINE_SOFT) {
  v1::Vm vm;
  vm.set_name("vms/" + id);
  vm.set_state(v1::Vm::RUNNING);
  vm.set_engine(engine);
  return vm;
}

inline v1::Site SiteOf(uint64_t gpa, const std::string& symbol, v1::Site::State state,
                       uint64_t traps, uint64_t linked, uint64_t cycles) {
  v1::Site site;
  site.set_name(absl::StrCat("vms/debian/sites/", Hex(gpa)));
  site.set_gpa(gpa);
  site.set_gva(0xffffffff81000000 + gpa);
  site.set_symbol(symbol);
  site.set_state(state);
  site.set_traps(traps);
  site.set_fast_calls(linked);
  auto* path = site.add_paths();
  path->set_path(v1::TECHNIQUE_LINKED);
  path->set_calls(linked);
  path->set_cycles(cycles);
  auto* number = site.add_numbers();
  number->set_number(10);
  number->set_name("send_ipi");
  number->set_calls(traps + linked);
  return site;
}

inline v1::WatchSitesResponse ResponseOf(const std::vector<v1::Site>& sites) {
  v1::WatchSitesResponse response;
  for (const v1::Site& site : sites) *response.add_sites() = site;
  return response;
}

inline v1::WatchSitesResponse SnapshotOf(const std::vector<v1::Site>& sites) {
  v1::WatchSitesResponse response = ResponseOf(sites);
  response.set_snapshot(true);
  return response;
}

// A model of one VM "debian" that is watched every second.
class OneVm {
 public:
  OneVm() { model.SetVms({RunningVm("debian")}); }

  // The watch's next second.
  void Second(const v1::WatchSitesResponse& response) {
    now += absl::Seconds(1);
    model.Apply("debian", response, now);
  }
  const TrackedSite& At(uint64_t gpa) const { return *model.Find({"debian", gpa}); }

  Model model{absl::Seconds(1)};
  absl::Time now = kStart;
};

}  // namespace trapline::cli::top
