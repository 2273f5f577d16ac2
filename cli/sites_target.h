// SPDX-License-Identifier: Apache-2.0
// The arguments VM and SITE of the commands about sites.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"

namespace trapline::cli {

struct SitesTarget {
  std::string vm;
  std::string site;  // empty: the VM as a whole

  std::string name() const { return site.empty() ? vm : absl::StrCat(vm, "/sites/", site); }
};

// The site's address, as `sites ls` shows it.
CLI::Option* AddSite(CLI::App& app, SitesTarget& target);

}  // namespace trapline::cli
