// SPDX-License-Identifier: Apache-2.0
// A guest's code as the engine has it: its sites, armed, rewritten and linked, their stubs, and the
// table by which guest processes recognise them.
//
// Where `vmcall` does not trap in ring 3 (inside another KVM it returns an error, and nobody here
// hears of it) a site is armed before the guest runs: `ud2` stands in its place, and the original
// is kept here. All writes go through the VMM's own mapping of the memory; guest processes map text
// and stubs without the right to write.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/unique_fd.h"
#include "core/engine/direct/jump_plan.h"
#include "core/engine/direct/layout.h"
#include "core/engine/direct/probe.h"
#include "core/engine/direct/site_finder.h"
#include "core/engine/engine.h"

namespace trapline::engine::direct {

// A memfd, mapped here for writing.
class SharedArea {
 public:
  // RESOURCE_EXHAUSTED where the host has no room.
  static absl::StatusOr<std::unique_ptr<SharedArea>> Create(const char* name, uint64_t size);
  ~SharedArea();

  int fd() const { return fd_.get(); }
  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  SharedArea(base::UniqueFd fd, std::byte* data, uint64_t size)
      : fd_(std::move(fd)), data_(data), size_(size) {}

  const base::UniqueFd fd_;
  std::byte* const data_;
  const uint64_t size_;
};

// What traps by itself.
struct TrapKinds {
  TrapKind vmcall = TrapKind::kUnknown, vmmcall = TrapKind::kUnknown;
};

// Thread-safe, but for Load.
class GuestCode {
 public:
  // text: executable guest memory as this process maps it, below 4 GiB; ram: where guest RAM is,
  // gaps included.
  static absl::StatusOr<std::unique_ptr<GuestCode>> Create(std::vector<TextSpan> text,
                                                           std::vector<uint64_t> entries,
                                                           TrapKinds traps,
                                                           std::vector<AddressRange> ram);

  // An image was loaded: finds its sites, arms those that need it, plans their jumps; while no
  // guest process runs. The addresses of bytes that could not be confirmed to be sites.
  std::vector<uint64_t> Load();

  // The engine's (engine.h), by one caller at a time.
  RewriteResult Rewrite(const SiteSpec& site, SiteEntry entry);
  void Settle(const SiteSpec& site, bool settled);

  // What the guest has at this address, if a site is known there.
  std::optional<std::array<uint8_t, kSiteLength>> OriginalAt(uint64_t gpa) const;
  // The site that a linked call came from, by where it goes on.
  std::optional<uint64_t> SiteBefore(uint64_t address) const;
  // address, or behind the padding where that is the padding of a site of five bytes: its bytes may
  // be part of a jump, and nobody is to run into them.
  uint64_t SkipPadding(uint64_t address) const;

  // Where a linked site's jump leads, and the code there.
  struct Stub {
    uint64_t address;
    std::vector<std::byte> code;
  };
  std::optional<Stub> StubOf(uint64_t gpa) const;
  // Lays the guest's own bytes over bytes, which are those from gpa on.
  void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes) const;

  // Mappings of all this for a guest process, whose descriptors these become.
  std::vector<Mapping> Mappings() const;
  int stubs_fd() const { return stubs_->fd(); }
  int table_fd() const { return table_->fd(); }

 private:
  struct Site {
    std::array<uint8_t, kSiteLength> original;
    bool armed = false;
    bool five_bytes = false;
    SiteEntry entry = SiteEntry::kTrap;
    PlannedJump jump;

    uint8_t length() const { return five_bytes ? 5 : kSiteLength; }
  };

  GuestCode(std::vector<TextSpan> text, std::vector<uint64_t> entries, TrapKinds traps,
            std::vector<AddressRange> ram);

  bool Silent(const std::array<uint8_t, kSiteLength>& original) const;
  void PlanJumps(std::span<const FoundSite> found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteStub(const SiteSpec& site, const Site& known) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // In this process's mapping; null: not text.
  std::byte* TextAt(uint64_t gpa, uint64_t size) const;
  std::byte* StubByte(uint64_t address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static std::array<uint8_t, 5> OriginalOf(const Site& site);
  static std::array<uint8_t, 5> BytesFor(const Site& site, SiteEntry entry);
  SiteRow* RowFor(uint64_t gpa);

  const std::vector<TextSpan> text_;
  const std::vector<uint64_t> entries_;
  const TrapKinds traps_;
  const std::vector<AddressRange> ram_;
  std::unique_ptr<SharedArea> stubs_;  // near ones, then the pages of jump_plan
  std::unique_ptr<SharedArea> table_;

  mutable absl::Mutex mutex_;
  std::map<uint64_t, Site> sites_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> stub_pages_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::engine::direct
