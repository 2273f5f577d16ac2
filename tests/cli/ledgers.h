// SPDX-License-Identifier: Apache-2.0
// Sites and ledgers as tests write them.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

struct SiteFigures {
  std::string symbol;
  uint64_t gva = 0;
  uint64_t number = 10;
  uint64_t traps = 1, fast_calls = 0, cycles = 1000;
};

inline v1::Site MakeSite(const SiteFigures& figures) {
  v1::Site site;
  char name[64];
  std::snprintf(name, sizeof name, "vms/a/sites/0x%llx",
                static_cast<unsigned long long>(figures.gva));
  site.set_name(name);
  site.set_gva(figures.gva);
  site.set_gpa(figures.gva);
  site.set_symbol(figures.symbol);
  site.set_original("\x0f\x01\xc1");
  site.set_current(figures.fast_calls == 0 ? "\x0f\x01\xc1" : "\xcd\x1f\x90");
  site.set_state(figures.fast_calls == 0 ? v1::Site::TRAPPING : v1::Site::LINKED);
  site.set_technique(figures.fast_calls == 0 ? v1::TECHNIQUE_EMULATE : v1::TECHNIQUE_LINKED);
  site.set_traps(figures.traps);
  site.set_fast_calls(figures.fast_calls);
  auto* number = site.add_numbers();
  number->set_number(figures.number);
  number->set_calls(figures.traps + figures.fast_calls);
  auto* trap = site.add_paths();
  trap->set_path(v1::TECHNIQUE_EMULATE);
  trap->set_calls(figures.traps);
  trap->set_cycles(figures.cycles);
  if (figures.fast_calls != 0) {
    auto* linked = site.add_paths();
    linked->set_path(v1::TECHNIQUE_LINKED);
    linked->set_calls(figures.fast_calls);
    linked->set_cycles(figures.fast_calls * 40);
  }
  return site;
}

inline v1::SiteLedger MakeLedger(const std::vector<SiteFigures>& sites) {
  v1::SiteLedger ledger;
  ledger.mutable_vm()->set_name("vms/a");
  for (const SiteFigures& figures : sites) *ledger.add_sites() = MakeSite(figures);
  return ledger;
}

}  // namespace trapline::cli
