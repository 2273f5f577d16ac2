// SPDX-License-Identifier: Apache-2.0
// The arguments VM and SITE of the commands about sites.
#include "cli/sites_target.h"

#include "absl/strings/match.h"
#include "cli/units.h"

namespace trapline::cli {

CLI::Option* AddSite(CLI::App& app, SitesTarget& target) {
  return app
      .add_option_function<std::string>(
          "SITE",
          [&target](const std::string& text) {
            const absl::StatusOr<uint64_t> gpa =
                ParseNumber(absl::StartsWith(text, "0x") ? text : absl::StrCat("0x", text));
            if (!gpa.ok())
              throw CLI::ValidationError("SITE", "'" + text + "' is not a guest-physical address");
            target.site = Hex(*gpa);
          },
          "The site's guest-physical address, as 'sites ls' shows it")
      ->type_name("");
}

}  // namespace trapline::cli
