// SPDX-License-Identifier: Apache-2.0
// A file that appears whole or not at all.
#include "cli/staged_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/status.h"
#include "cli/terminal.h"

namespace trapline::cli {

absl::StatusOr<StagedFile> StagedFile::Create(absl::string_view flag, const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status there = std::filesystem::status(path, error);
  const bool exists = std::filesystem::exists(there);
  // A rename would put a file in the place of a device or a pipe.
  if (exists && !std::filesystem::is_regular_file(there))
    return UsageError(flag, absl::StrCat(path, " is there and is no ordinary file"));
  // What a link leads to is replaced, not the link.
  const std::string target =
      exists ? std::filesystem::canonical(path, error).string() : std::string(path);
  std::string temporary = absl::StrCat(target, ".", getpid(), ".tmp");
  const std::filesystem::path folder = std::filesystem::path(target).parent_path();
  // Without a name until it is committed, so that a signal leaves nothing behind; not every file
  // system has that.
  base::UniqueFd fd(
      open(folder.empty() ? "." : folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666));
  const bool nameless = fd.valid();
  if (!nameless) fd.Reset(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd.valid())
    return UsageError(flag, absl::StrCat("cannot write ", path, ": ", strerror(errno)));
  return StagedFile(target, std::move(temporary), nameless, std::move(fd));
}

StagedFile::StagedFile(std::string path, std::string temporary, bool nameless, base::UniqueFd fd)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      named_(!nameless),
      fd_(std::move(fd)) {}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      named_(std::exchange(other.named_, false)),
      fd_(std::move(other.fd_)) {}

StagedFile::~StagedFile() {
  if (named_) unlink(temporary_.c_str());
}

absl::Status StagedFile::Write(absl::string_view bytes) const { return WriteAll(fd(), bytes); }

absl::Status StagedFile::Commit() {
  const std::string ours = absl::StrCat("/proc/self/fd/", fd());
  bool well = fsync(fd()) == 0;
  if (well && !named_) {
    well = linkat(AT_FDCWD, ours.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0;
    named_ = well;
  }
  if (!well || std::rename(temporary_.c_str(), path_.c_str()) != 0)
    return absl::InternalError(absl::StrCat("cannot write ", path_, ": ", strerror(errno)));
  named_ = false;
  return absl::OkStatus();
}

}  // namespace trapline::cli
