// SPDX-License-Identifier: Apache-2.0
// The host's files that a VM is made from, opened while they can still be seen.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {

// Not thread-safe.
class OpenedFiles {
 public:
  OpenedFiles() = default;
  // For reading; what cannot be opened is told by Take. paths: as common/worker_files.h has them.
  explicit OpenedFiles(const std::vector<std::string>& paths);

  // Once for each path. INVALID_ARGUMENT: it could not be opened, or was not among them.
  absl::StatusOr<base::UniqueFd> Take(const std::string& path);

 private:
  std::multimap<std::string, absl::StatusOr<base::UniqueFd>> files_;
};

}  // namespace trapline::daemon
