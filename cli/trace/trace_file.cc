// SPDX-License-Identifier: Apache-2.0
// A file of traced hypercalls.
#include "cli/trace/trace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/terminal.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace trapline::cli {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr absl::string_view kMagic = "trapline trace";
constexpr uint32_t kVersion = 1;
// More than gRPC lets through in one message.
constexpr uint32_t kMaxEntryBytes = 16 << 20;
constexpr int kMaxLengthBytes = 4;  // a varint of them reaches beyond kMaxEntryBytes
constexpr int kReadBytes = 1 << 18;

}  // namespace

absl::StatusOr<std::unique_ptr<TraceFileWriter>> TraceFileWriter::Create(
    const std::string& path, v1::TraceFileEntry::Header header) {
  base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  auto writer = std::unique_ptr<TraceFileWriter>(new TraceFileWriter(std::move(fd), path));
  header.set_magic(std::string(kMagic));
  header.set_version(kVersion);
  *writer->entry_.mutable_header() = std::move(header);
  if (absl::Status status = writer->Write(); !status.ok()) return status;
  return writer;
}

absl::Status TraceFileWriter::Append(const v1::StreamHypercallsResponse& response) {
  *entry_.mutable_response() = response;
  return Write();
}

// A response is what the daemon had ready at once, hundreds of calls where there are many, so
// nothing is won by keeping it here.
absl::Status TraceFileWriter::Write() {
  const uint32_t size = static_cast<uint32_t>(entry_.ByteSizeLong());
  buffer_.resize(CodedOutputStream::VarintSize32(size) + size);
  auto* bytes = reinterpret_cast<uint8_t*>(buffer_.data());
  entry_.SerializeWithCachedSizesToArray(CodedOutputStream::WriteVarint32ToArray(size, bytes));
  if (const absl::Status status = WriteAll(fd_.get(), buffer_, path_); !status.ok()) {
    const bool cut = ftruncate(fd_.get(), static_cast<off_t>(bytes_)) == 0;
    if (!cut || bytes_ == 0) return status;
    return absl::Status(status.code(),
                        absl::StrCat(status.message(), "; what it has so far can be read"));
  }
  bytes_ += buffer_.size();
  return absl::OkStatus();
}

absl::Status TraceFileWriter::Close() {
  if (close(fd_.Release()) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TraceFileReader>> TraceFileReader::Open(const std::string& path) {
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  auto input = std::make_unique<google::protobuf::io::FileInputStream>(fd.Release(), kReadBytes);
  input->SetCloseOnDelete(true);
  const google::protobuf::io::FileInputStream& file = *input;
  auto reader = std::make_unique<TraceFileReader>(std::move(input), path);
  reader->file_ = &file;
  return reader;
}

absl::StatusOr<v1::TraceFileEntry::Header> TraceFileReader::ReadHeader() {
  const absl::StatusOr<bool> read = ReadEntry();
  if (!read.ok() || !*read || entry_.header().magic() != kMagic) {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, " is no trace; 'trapline trace VM --output FILE' writes one"));
  }
  if (entry_.header().version() != kVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        name_, " is a trace of version ", entry_.header().version(), "; this reads ", kVersion));
  }
  return entry_.header();
}

absl::StatusOr<const v1::StreamHypercallsResponse*> TraceFileReader::Next() {
  const absl::StatusOr<bool> read = ReadEntry();
  if (!read.ok()) return read.status();
  if (!*read) return nullptr;
  if (!entry_.has_response()) return Damaged("an entry has no calls");
  return &entry_.response();
}

absl::Status TraceFileReader::Damaged(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat(name_, " is damaged at byte ", entry_start_, ": ", what));
}

absl::StatusOr<bool> TraceFileReader::ReadEntry() {
  entry_start_ = input_->ByteCount();
  uint32_t length = 0;
  const absl::StatusOr<bool> more = ReadLength(length);
  if (!more.ok() || !*more) return more;
  ReadBytes(length);
  if (buffer_.size() < length) {
    return Damaged(absl::StrCat("it ends there, ", length - buffer_.size(), " bytes of ", length,
                                " are missing"));
  }
  if (!entry_.ParseFromString(buffer_)) return Damaged("an entry cannot be understood");
  return true;
}

absl::StatusOr<bool> TraceFileReader::ReadLength(uint32_t& length) {
  for (int i = 0; i < kMaxLengthBytes; ++i) {
    ReadBytes(1);
    if (buffer_.empty() && file_ != nullptr && file_->GetErrno() != 0)
      return absl::ErrnoToStatus(file_->GetErrno(), absl::StrCat("cannot read ", name_));
    if (buffer_.empty() && i == 0) return false;
    if (buffer_.empty()) return Damaged("it ends within the length of an entry");
    const auto byte = static_cast<uint8_t>(buffer_[0]);
    length |= uint32_t{byte & 0x7fu} << (7 * i);
    if ((byte & 0x80) == 0 && length <= kMaxEntryBytes) return true;
    if ((byte & 0x80) == 0) break;
  }
  return Damaged(absl::StrCat("an entry claims to be larger than ", kMaxEntryBytes, " bytes"));
}

void TraceFileReader::ReadBytes(size_t count) {
  buffer_.clear();
  const void* data = nullptr;
  int size = 0;
  while (buffer_.size() < count && input_->Next(&data, &size)) {
    const size_t taken = std::min(count - buffer_.size(), static_cast<size_t>(size));
    buffer_.append(static_cast<const char*>(data), taken);
    input_->BackUp(size - static_cast<int>(taken));
  }
}

}  // namespace trapline::cli
