// SPDX-License-Identifier: Apache-2.0
// The mapped file.
#include "daemon/control/site_revisions.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/hypercall/stats_layout.h"

namespace trapline::daemon {
namespace {

constexpr uint64_t kMagic = 0x3153564552505254;  // "TRPREVS1"
constexpr uint32_t kAhead = 1024;                // sites whose place is reserved at a time
constexpr size_t kPage = 4096;

// The machine's start, as the kernel names it.
void ReadBootId(uint64_t (&boot)[2]) {
  std::string text;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
  text = absl::StrReplaceAll(text, {{"-", ""}});
  for (size_t i = 0; i < 2; ++i) {
    if (text.size() != 32 || !absl::SimpleHexAtoi(text.substr(16 * i, 16), &boot[i])) boot[i] = 0;
  }
}

absl::Status Failed(absl::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat(what, " for the revisions of sites: ", strerror(errno)));
}

}  // namespace

struct SiteRevisions::Header {
  uint64_t magic;
  Identity identity;
  uint64_t life, revision;
  uint32_t sites;
};

struct SiteRevisions::Entry {
  uint64_t changed_in, calls;
  uint32_t sequence, reserved;
};

SiteRevisions::Header& SiteRevisions::header() const {
  return *reinterpret_cast<Header*>(file_->data());
}
SiteRevisions::Entry* SiteRevisions::entries() const {
  return reinterpret_cast<Entry*>(file_->data() + kPage);
}
uint64_t SiteRevisions::life() const { return header().life; }
uint64_t SiteRevisions::revision() const { return header().revision; }

absl::StatusOr<std::unique_ptr<SiteRevisions>> SiteRevisions::Open(const std::string& path,
                                                                   uint64_t stats_made) {
  auto revisions = std::unique_ptr<SiteRevisions>(new SiteRevisions(path));
  Identity identity{{}, stats_made};
  ReadBootId(identity.boot);
  if (!revisions->OpenFile().ok()) {
    if (auto status = revisions->MoveToMemory(); !status.ok()) return status;
  }
  Header& header = revisions->header();
  const bool known = header.magic == kMagic && header.identity == identity && header.life != 0 &&
                     header.sites <= hypercall::kMaxSites;
  if (known && revisions->Reserve(header.sites).ok()) {
    ++header.revision;
  } else {
    header = {kMagic, identity, absl::Uniform<uint64_t>(absl::BitGen(), 1, ~uint64_t{0}), 0, 0};
  }
  return revisions;
}

absl::Status SiteRevisions::OpenFile() {
  base::UniqueFd fd(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Failed("no file");
  if (auto status = Map(std::move(fd)); !status.ok()) return status;
  return Reserve(0);
}

absl::Status SiteRevisions::Map(base::UniqueFd fd) {
  constexpr size_t kSize = kPage + hypercall::kMaxSites * sizeof(Entry);
  struct stat file {};
  if (fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode)) return Failed("no regular file");
  if (file.st_size != static_cast<off_t>(kSize) &&
      (ftruncate(fd.get(), 0) != 0 || ftruncate(fd.get(), static_cast<off_t>(kSize)) != 0))
    return Failed("no size");
  auto mapped = base::MappedFile::Map(fd.get(), kSize, base::MappedFile::Mode::kReadWrite);
  if (!mapped.ok()) return mapped.status();
  fd_ = std::move(fd);
  file_ = *std::move(mapped);
  reserved_ = 0;
  return absl::OkStatus();
}

// The file system's room is to be had before the place is written: a page that it cannot supply
// would be lost.
absl::Status SiteRevisions::Reserve(uint32_t sites) {
  if (reserved_ != 0 && sites <= reserved_) return absl::OkStatus();
  const uint32_t end = std::min(sites + kAhead, hypercall::kMaxSites);
  const auto size = static_cast<off_t>(kPage + end * sizeof(Entry));
  if (fallocate(fd_.get(), 0, 0, size) != 0 && errno != EOPNOTSUPP) return Failed("no room");
  reserved_ = end;
  return absl::OkStatus();
}

absl::Status SiteRevisions::MoveToMemory() {
  base::UniqueFd fd(memfd_create("site-revisions", MFD_CLOEXEC));
  if (!fd.valid()) return Failed("no memory");
  const std::unique_ptr<base::MappedFile> before = std::move(file_);
  const uint32_t kept = reserved_;
  if (auto status = Map(std::move(fd)); !status.ok()) return status;
  if (auto status = Reserve(kept); !status.ok()) return status;
  if (before && kept != 0)
    memcpy(file_->data(), before->data(), kPage + size_t{kept} * sizeof(Entry));
  unlink(path_.c_str());  // it would be taken for the newest
  return absl::OkStatus();
}

absl::Status SiteRevisions::Take(const std::vector<hypercall::SiteActivity>& now) {
  const auto sites = static_cast<uint32_t>(std::min<size_t>(now.size(), hypercall::kMaxSites));
  if (!Reserve(sites).ok()) {
    if (auto status = MoveToMemory(); !status.ok()) return status;
    if (auto status = Reserve(sites); !status.ok()) return status;
  }
  Entry* entry = entries();
  for (uint32_t i = header().sites; i < sites; ++i) entry[i] = {};
  header().sites = std::max(header().sites, sites);
  const uint64_t next = header().revision + 1;
  bool changed = header().revision == 0;
  for (uint32_t i = 0; i < sites; ++i, ++entry) {
    if (entry->calls == now[i].calls && entry->sequence == now[i].sequence) continue;
    // In this order: a daemon that ends in between leaves a site that is found changed once more.
    std::atomic_ref(entry->changed_in).store(next, std::memory_order_release);
    std::atomic_ref(entry->calls).store(now[i].calls, std::memory_order_release);
    std::atomic_ref(entry->sequence).store(now[i].sequence, std::memory_order_release);
    changed = true;
  }
  if (changed) std::atomic_ref(header().revision).store(next, std::memory_order_release);
  return absl::OkStatus();
}

std::vector<uint32_t> SiteRevisions::ChangedSince(uint64_t revision) const {
  std::vector<uint32_t> changed;
  const Entry* entry = entries();
  const uint32_t sites = std::min(header().sites, reserved_);
  for (uint32_t i = 0; i < sites; ++i) {
    // Of those that have never been there is nothing to tell.
    if (entry[i].changed_in != 0 && entry[i].changed_in > revision) changed.push_back(i);
  }
  return changed;
}

}  // namespace trapline::daemon
