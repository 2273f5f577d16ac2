// SPDX-License-Identifier: Apache-2.0
// `trapline version`: this program's own version; `trapline host` says the daemon's.
#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"

namespace trapline::cli {

void AddVersionCommand(Commands& commands) {
  commands.Add(commands.root(),
               {.name = "version",
                .description = "Print this program's version",
                .formats = 0,
                .examples = "trapline version",
                .remote = false},
               [](Session& session) -> absl::StatusOr<int> {
                 const absl::Status status =
                     session.output().Text(absl::StrCat("trapline ", TRAPLINE_VERSION, "\n"));
                 if (!status.ok()) return status;
                 return kOk;
               });
}

}  // namespace trapline::cli
