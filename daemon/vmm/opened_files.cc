// SPDX-License-Identifier: Apache-2.0
// One may be named twice, as kernel and initrd say, and is opened twice then.
#include "daemon/vmm/opened_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

absl::StatusOr<base::UniqueFd> Open(const std::string& path) {
  // Not blocking, since the path may name a pipe.
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", strerror(errno)));
  return fd;
}

}  // namespace

OpenedFiles::OpenedFiles(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) files_.emplace(path, Open(path));
}

absl::StatusOr<base::UniqueFd> OpenedFiles::Take(const std::string& path) {
  auto found = files_.find(path);
  if (found == files_.end())
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not among the files that the worker was started with"));
  auto file = files_.extract(found);
  return std::move(file.mapped());
}

}  // namespace trapline::daemon
