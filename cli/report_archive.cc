// SPDX-License-Identifier: Apache-2.0
// An archive that a report is packed into.
#include "cli/report_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::cli {
namespace {

constexpr size_t kPiece = size_t{256} << 10;

absl::Status Failed(archive* handle) {
  // Its own text says little more than "Write error".
  const char* text = archive_error_string(handle);
  const int error = archive_errno(handle);
  return absl::InternalError(absl::StrCat("cannot write the archive: ", text != nullptr ? text : "",
                                          error > 0 ? absl::StrCat(": ", strerror(error)) : ""));
}

}  // namespace

absl::StatusOr<Spool> Spool::Create() {
  File file(std::tmpfile(), &std::fclose);
  if (file == nullptr) return absl::ErrnoToStatus(errno, "making a temporary file");
  return Spool(std::move(file));
}

absl::Status Spool::Write(absl::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
    return absl::ErrnoToStatus(errno, "writing a temporary file");
  size_ += bytes.size();
  return absl::OkStatus();
}

absl::Status Spool::Rewind() {
  if (std::fflush(file_.get()) != 0 || std::fseek(file_.get(), 0, SEEK_SET) != 0)
    return absl::ErrnoToStatus(errno, "writing a temporary file");
  return absl::OkStatus();
}

absl::StatusOr<std::string> Spool::Read() {
  std::string piece(kPiece, '\0');
  piece.resize(std::fread(piece.data(), 1, piece.size(), file_.get()));
  if (std::ferror(file_.get()) != 0) return absl::ErrnoToStatus(errno, "reading a temporary file");
  return piece;
}

absl::StatusOr<ReportArchive> ReportArchive::Create(int fd, std::string folder, absl::Time time) {
  Handle handle(archive_write_new(), &archive_write_free);
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for an archive");
  archive* raw = handle.get();
  if (archive_write_set_format_pax_restricted(raw) != ARCHIVE_OK ||
      archive_write_add_filter_gzip(raw) != ARCHIVE_OK ||
      archive_write_open_fd(raw, fd) != ARCHIVE_OK)
    return Failed(raw);
  return ReportArchive(std::move(handle), std::move(folder), time);
}

absl::Status ReportArchive::Begin(const std::string& name, uint64_t size) {
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                       &archive_entry_free);
  archive_entry_set_pathname(entry.get(), absl::StrCat(folder_, "/", name).c_str());
  archive_entry_set_size(entry.get(), static_cast<int64_t>(size));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_mtime(entry.get(), absl::ToUnixSeconds(time_), 0);
  return archive_write_header(handle_.get(), entry.get()) == ARCHIVE_OK ? absl::OkStatus()
                                                                        : Failed(handle_.get());
}

absl::Status ReportArchive::Put(absl::string_view bytes) {
  const la_ssize_t written = archive_write_data(handle_.get(), bytes.data(), bytes.size());
  if (written < 0) return Failed(handle_.get());
  if (static_cast<size_t>(written) != bytes.size())
    return absl::InternalError("cannot write the archive: it took less than it was given");
  return absl::OkStatus();
}

absl::Status ReportArchive::Add(const std::string& name, absl::string_view bytes) {
  const absl::Status begun = Begin(name, bytes.size());
  return begun.ok() ? Put(bytes) : begun;
}

absl::Status ReportArchive::Add(const std::string& name, Spool& spool) {
  absl::Status status = spool.Rewind();
  if (status.ok()) status = Begin(name, spool.size());
  while (status.ok()) {
    const absl::StatusOr<std::string> piece = spool.Read();
    if (!piece.ok()) return piece.status();
    if (piece->empty()) break;
    status = Put(*piece);
  }
  return status;
}

absl::Status ReportArchive::Close() {
  return archive_write_close(handle_.get()) == ARCHIVE_OK ? absl::OkStatus()
                                                          : Failed(handle_.get());
}

}  // namespace trapline::cli
