// SPDX-License-Identifier: Apache-2.0
// One may be named twice, as kernel and initrd say, and is opened twice then.
#include "daemon/vmm/opened_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "daemon/common/worker_files.h"

namespace trapline::daemon {
namespace {

// Not blocking, since the path may name a pipe.
constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

int OpenWithoutLinks(const std::string& path) {
  open_how how{};
  how.flags = kFlags;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how));
}

absl::StatusOr<base::UniqueFd> Open(const std::string& path, bool links) {
  base::UniqueFd fd(links ? open(path.c_str(), kFlags) : OpenWithoutLinks(path));
  if (fd.valid()) return fd;
  if (!links && errno == ELOOP) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": a link leads there by now, and is not followed for whom [images] "
                     "directories binds; put the file itself there"));
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", strerror(errno)));
}

}  // namespace

OpenedFiles::OpenedFiles(const std::vector<std::string>& paths) {
  for (const std::string& name : paths) {
    absl::string_view path = name;
    const bool links = !absl::ConsumePrefix(&path, kWithoutLinks);
    files_.emplace(path, Open(std::string(path), links));
  }
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
