// SPDX-License-Identifier: Apache-2.0
// An archive that a report is packed into: tar, compressed by gzip.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

struct archive;

namespace trapline::cli {

// A temporary file without a name, for a part whose size is not known before it is written.
class Spool {
 public:
  static absl::StatusOr<Spool> Create();

  absl::Status Write(absl::string_view bytes);
  uint64_t size() const { return size_; }
  // Back to its beginning, and pieces from there; an empty one is its end.
  absl::Status Rewind();
  absl::StatusOr<std::string> Read();

 private:
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  explicit Spool(File file) : file_(std::move(file)) {}
  File file_;
  uint64_t size_ = 0;
};

class ReportArchive {
 public:
  // Into an open file; everything is in one folder of that name, and from that time.
  static absl::StatusOr<ReportArchive> Create(int fd, std::string folder, absl::Time time);

  absl::Status Add(const std::string& name, absl::string_view bytes);
  absl::Status Add(const std::string& name, Spool& spool);
  // Writes what is left; nothing can be added then.
  absl::Status Close();

 private:
  using Handle = std::unique_ptr<archive, int (*)(archive*)>;
  ReportArchive(Handle handle, std::string folder, absl::Time time)
      : handle_(std::move(handle)), folder_(std::move(folder)), time_(time) {}
  absl::Status Begin(const std::string& name, uint64_t size);
  absl::Status Put(absl::string_view bytes);

  Handle handle_;
  std::string folder_;
  absl::Time time_;
};

}  // namespace trapline::cli
