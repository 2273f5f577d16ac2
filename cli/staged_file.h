// SPDX-License-Identifier: Apache-2.0
// A file that appears whole or not at all: it is written without a name or under a temporary one,
// and renamed.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/unique_fd.h"

namespace trapline::cli {

// Where a document goes, piece by piece.
using Sink = std::function<absl::Status(absl::string_view)>;

class StagedFile {
 public:
  // INVALID_ARGUMENT, naming `flag`, where no file can be made there: what is there already is no
  // ordinary file, or the folder cannot be written to.
  static absl::StatusOr<StagedFile> Create(absl::string_view flag, const std::string& path);
  // Removes what was not committed.
  ~StagedFile();
  StagedFile(StagedFile&& other) noexcept;
  StagedFile& operator=(StagedFile&&) = delete;

  absl::Status Write(absl::string_view bytes) const;
  int fd() const { return fd_.get(); }
  // Puts it in its place, over a file of that name; it is on the disk then.
  absl::Status Commit();

 private:
  StagedFile(std::string path, std::string temporary, bool nameless, base::UniqueFd fd);

  std::string path_, temporary_;
  bool named_;  // there is a file of the temporary name
  base::UniqueFd fd_;
};

}  // namespace trapline::cli
