// SPDX-License-Identifier: Apache-2.0
// A file of traced hypercalls: TraceFileEntry messages, each behind its length as a varint. It is
// written an entry at a time, so that at any moment what is on disk can be read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/unique_fd.h"
#include "google/protobuf/io/zero_copy_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

class TraceFileWriter {
 public:
  // Replaces what is at `path`. Fills in the header's magic and version.
  static absl::StatusOr<std::unique_ptr<TraceFileWriter>> Create(const std::string& path,
                                                                 v1::TraceFileEntry::Header header);

  // Of the PACKED encoding. Where it fails (a full disk), the file ends with the entry before.
  absl::Status Append(const v1::StreamHypercallsResponse& response);
  // The last chance of an error; nothing may be appended after it.
  absl::Status Close();
  uint64_t bytes() const { return bytes_; }

 private:
  TraceFileWriter(base::UniqueFd fd, std::string path)
      : fd_(std::move(fd)), path_(std::move(path)) {}
  absl::Status Write();

  base::UniqueFd fd_;
  const std::string path_;
  v1::TraceFileEntry entry_;
  std::string buffer_;
  uint64_t bytes_ = 0;  // of whole entries
};

// Reads what may be no trace, cut short or damaged.
class TraceFileReader {
 public:
  // NOT_FOUND and the like: it cannot be opened.
  static absl::StatusOr<std::unique_ptr<TraceFileReader>> Open(const std::string& path);
  // `name` is what errors call it.
  TraceFileReader(std::unique_ptr<google::protobuf::io::ZeroCopyInputStream> input,
                  std::string name)
      : input_(std::move(input)), name_(std::move(name)) {}

  // First of all. INVALID_ARGUMENT: it is no trace, or one of another version.
  absl::StatusOr<v1::TraceFileEntry::Header> ReadHeader();
  // The next response; null at the end. DATA_LOSS says at which byte the damage is.
  absl::StatusOr<const v1::StreamHypercallsResponse*> Next();
  // The same error about what is in the entry read last.
  absl::Status Damaged(absl::string_view what) const;

 private:
  // False at the end.
  absl::StatusOr<bool> ReadEntry();
  absl::StatusOr<bool> ReadLength(uint32_t& length);
  // Up to `count` bytes into buffer_, as many as there are.
  void ReadBytes(size_t count);

  std::unique_ptr<google::protobuf::io::ZeroCopyInputStream> input_;
  const google::protobuf::io::FileInputStream* file_ = nullptr;  // the same, where it is one
  const std::string name_;
  v1::TraceFileEntry entry_;
  std::string buffer_;
  int64_t entry_start_ = 0;
};

}  // namespace trapline::cli
