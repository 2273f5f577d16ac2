// SPDX-License-Identifier: Apache-2.0
// Arming, rewriting, stubs, the site table.
#include "core/engine/direct/guest_code.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/engine/direct/code_writer.h"

namespace trapline::engine::direct {
namespace {

constexpr uint64_t kNearSize = TRAPLINE_NEAR_END - TRAPLINE_NEAR_STUBS;
constexpr std::array<uint8_t, 2> kUd2 = {0x0f, 0x0b}, kInterrupt = {0xcd, 0x1f};
constexpr uint8_t kNop = 0x90, kOperandSize = 0x66;
constexpr std::array<uint8_t, kSiteLength> kVmcall = {0x0f, 0x01, 0xc1};

// mov %rcx, CONTROL_RCX; mov %rdx, CONTROL_RDX; mov $counters, %rcx; mov $back, %edx; jmp
// *CONTROL_LINKED_ENTRY
class StubWriter {
 public:
  template <size_t kSize>
  StubWriter& Code(const std::array<uint8_t, kSize>& bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + size_);
    size_ += kSize;
    return *this;
  }
  template <typename T>
  StubWriter& Word(T value) {
    memcpy(bytes_.data() + size_, &value, sizeof value);
    size_ += sizeof value;
    return *this;
  }
  std::span<const uint8_t> bytes() const { return std::span(bytes_).first(size_); }

 private:
  std::array<uint8_t, kStubSize> bytes_{};
  size_t size_ = 0;
};

uint32_t ControlField(uint32_t offset) { return TRAPLINE_CONTROL + offset; }

}  // namespace

absl::StatusOr<std::unique_ptr<SharedArea>> SharedArea::Create(const char* name, uint64_t size) {
  base::UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return absl::ResourceExhaustedError(absl::StrCat(name, ": ", strerror(errno)));
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED)
    return absl::ResourceExhaustedError(absl::StrCat(name, ": ", strerror(errno)));
  return std::unique_ptr<SharedArea>(
      new SharedArea(std::move(fd), static_cast<std::byte*>(data), size));
}

SharedArea::~SharedArea() { munmap(data_, size_); }

GuestCode::GuestCode(std::vector<TextSpan> text, std::vector<uint64_t> entries, TrapKinds traps,
                     std::vector<AddressRange> ram)
    : text_(std::move(text)), entries_(std::move(entries)), traps_(traps), ram_(std::move(ram)) {}

absl::StatusOr<std::unique_ptr<GuestCode>> GuestCode::Create(std::vector<TextSpan> text,
                                                             std::vector<uint64_t> entries,
                                                             TrapKinds traps,
                                                             std::vector<AddressRange> ram) {
  std::unique_ptr<GuestCode> code(
      new GuestCode(std::move(text), std::move(entries), traps, std::move(ram)));
  auto stubs = SharedArea::Create("trapline-stubs", kNearSize + JumpPlan::kMaxPages * kPage);
  if (!stubs.ok()) return stubs.status();
  auto table = SharedArea::Create("trapline-sites", kSiteRows * sizeof(SiteRow));
  if (!table.ok()) return table.status();
  code->stubs_ = *std::move(stubs);
  code->table_ = *std::move(table);
  return code;
}

bool GuestCode::Silent(const std::array<uint8_t, kSiteLength>& original) const {
  TrapKind kind = original == kVmcall ? traps_.vmcall : traps_.vmmcall;
  return kind != TrapKind::kInvalidOpcode && kind != TrapKind::kGeneralProtection;
}

std::byte* GuestCode::TextAt(uint64_t gpa, uint64_t size) const {
  for (const TextSpan& span : text_) {
    uint64_t offset = gpa - span.gpa;
    if (gpa >= span.gpa && offset <= span.bytes.size() && size <= span.bytes.size() - offset)
      return const_cast<std::byte*>(span.bytes.data()) + offset;
  }
  return nullptr;
}

std::vector<uint64_t> GuestCode::Load() {
  absl::MutexLock lock(&mutex_);
  sites_.clear();
  std::vector<uint64_t> ambiguous;
  std::vector<FoundSite> found = FindSites(text_, entries_);
  for (const FoundSite& site : found) {
    if (!site.confirmed) {
      ambiguous.push_back(site.gpa);
      continue;
    }
    Site& known = sites_[site.gpa];
    known.original = site.original;
    known.five_bytes = site.five_bytes;
    known.armed = Silent(site.original);
  }
  PlanJumps(found);
  for (const auto& [gpa, site] : sites_) {
    if (site.armed) memcpy(TextAt(gpa, kUd2.size()), kUd2.data(), kUd2.size());
  }
  return ambiguous;
}

// Before anything is armed, since a punned jump is made of the bytes behind it as they are.
void GuestCode::PlanJumps(std::span<const FoundSite> found) {
  JumpPlan plan(ram_);
  constexpr uint64_t kMostBehind = 4;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i].confirmed) continue;
    uint64_t behind = found[i].gpa + kSiteLength, size = kMostBehind;
    // Another site's bytes will not stay.
    if (i + 1 < found.size()) size = std::min(size, found[i + 1].gpa - behind);
    while (size > 0 && !TextAt(behind, size)) --size;
    std::span<const std::byte> bytes;
    if (size > 0) bytes = {TextAt(behind, size), size};
    sites_[found[i].gpa].jump = plan.Plan(found[i], bytes);
  }
  stub_pages_ = plan.pages();
}

// As the guest has them, padding included.
std::array<uint8_t, 5> GuestCode::OriginalOf(const Site& site) {
  return {site.original[0], site.original[1], site.original[2], kOperandSize, kNop};
}

std::array<uint8_t, 5> GuestCode::BytesFor(const Site& site, SiteEntry entry) {
  if (entry == SiteEntry::kLinked) return site.jump.bytes;
  std::array<uint8_t, 5> bytes = OriginalOf(site);
  if (entry == SiteEntry::kInterrupt) {
    std::copy(kInterrupt.begin(), kInterrupt.end(), bytes.begin());
    bytes[2] = kNop;
  } else if (site.armed) {
    std::copy(kUd2.begin(), kUd2.end(), bytes.begin());
  }
  return bytes;
}

RewriteResult GuestCode::Rewrite(const SiteSpec& spec, SiteEntry entry) {
  absl::MutexLock lock(&mutex_);
  // One that was not found at load has trapped by itself, so it needs no arming.
  Site& site =
      sites_.try_emplace(spec.gpa, Site{.original = spec.original, .jump = {}}).first->second;
  if (entry == SiteEntry::kLinked && site.jump.result != RewriteResult::kDone)
    return site.jump.result;
  std::byte* code = TextAt(spec.gpa, site.length());
  auto old = BytesFor(site, site.entry);
  if (!code || memcmp(code, old.data(), site.length()) != 0) return RewriteResult::kBytesChanged;
  if (entry == SiteEntry::kLinked) WriteStub(spec, site);
  auto bytes = BytesFor(site, entry);
  RewriteCode(code, std::span(bytes).first(site.length()));
  site.entry = entry;
  return RewriteResult::kDone;
}

std::byte* GuestCode::StubByte(uint64_t address) const {
  if (address >= TRAPLINE_NEAR_STUBS && address < TRAPLINE_NEAR_END)
    return stubs_->data() + (address - TRAPLINE_NEAR_STUBS);
  auto page = std::find(stub_pages_.begin(), stub_pages_.end(), address & ~(kPage - 1));
  return stubs_->data() + kNearSize + static_cast<uint64_t>(page - stub_pages_.begin()) * kPage +
         (address & (kPage - 1));
}

// Whoever is still inside, from before a revert, sees the same bytes written once more: a site
// keeps its row.
void GuestCode::WriteStub(const SiteSpec& spec, const Site& site) {
  static_assert(kStubCodeSize <= kStubSize);
  StubWriter stub;
  stub.Code(std::array<uint8_t, 4>{0x48, 0x89, 0x0c, 0x25}).Word(ControlField(CONTROL_RCX));
  stub.Code(std::array<uint8_t, 4>{0x48, 0x89, 0x14, 0x25}).Word(ControlField(CONTROL_RDX));
  stub.Code(std::array<uint8_t, 2>{0x48, 0xb9})
      .Word(uint64_t{TRAPLINE_COUNTERS} + spec.index * sizeof(SiteCounters));
  stub.Code(std::array<uint8_t, 1>{0xba}).Word(static_cast<uint32_t>(spec.gpa + site.length()));
  stub.Code(std::array<uint8_t, 3>{0xff, 0x24, 0x25}).Word(ControlField(CONTROL_LINKED_ENTRY));
  for (size_t i = 0; i < stub.bytes().size(); ++i)
    *StubByte(site.jump.stub + i) = std::byte{stub.bytes()[i]};
  SerialiseGuests();
}

// Rows are only added; a row without its site settled is one that nobody serves by.
SiteRow* GuestCode::RowFor(uint64_t gpa) {
  auto* rows = reinterpret_cast<SiteRow*>(table_->data());
  for (uint64_t i = SiteHash(gpa), looked = 0; looked < kSiteRows;
       ++looked, i = (i + 1) % kSiteRows) {
    uint64_t known = rows[i].gpa.load(std::memory_order_relaxed);
    if (known == gpa || known == 0) return &rows[i];
  }
  return nullptr;
}

void GuestCode::Settle(const SiteSpec& spec, bool settled) {
  absl::MutexLock lock(&mutex_);
  SiteRow* row = RowFor(spec.gpa);
  if (!row) return;
  auto known = sites_.find(spec.gpa);
  bool found = known != sites_.end();
  row->settled.store(false, std::memory_order_release);
  row->index = spec.index;
  row->length = found && known->second.five_bytes ? known->second.length() : spec.length;
  row->gpa.store(spec.gpa, std::memory_order_release);
  row->settled.store(settled, std::memory_order_release);
}

std::optional<std::array<uint8_t, kSiteLength>> GuestCode::OriginalAt(uint64_t gpa) const {
  absl::MutexLock lock(&mutex_);
  auto site = sites_.find(gpa);
  if (site == sites_.end()) return std::nullopt;
  return site->second.original;
}

std::optional<uint64_t> GuestCode::SiteBefore(uint64_t address) const {
  absl::MutexLock lock(&mutex_);
  for (uint8_t length : {uint8_t{5}, uint8_t{kSiteLength}}) {
    auto site = sites_.find(address - length);
    if (site != sites_.end() && site->second.length() == length) return site->first;
  }
  return std::nullopt;
}

uint64_t GuestCode::SkipPadding(uint64_t address) const {
  absl::MutexLock lock(&mutex_);
  auto site = sites_.find(address - kSiteLength);
  bool padding = site != sites_.end() && site->second.five_bytes;
  return padding ? site->first + site->second.length() : address;
}

std::optional<GuestCode::Stub> GuestCode::StubOf(uint64_t gpa) const {
  absl::MutexLock lock(&mutex_);
  auto site = sites_.find(gpa);
  if (site == sites_.end() || site->second.entry != SiteEntry::kLinked) return std::nullopt;
  Stub stub{site->second.jump.stub, {}};
  for (uint64_t i = 0; i < kStubCodeSize; ++i) stub.code.push_back(*StubByte(stub.address + i));
  return stub;
}

void GuestCode::OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes) const {
  absl::MutexLock lock(&mutex_);
  constexpr uint64_t kLongestSite = 5;
  auto first = sites_.lower_bound(gpa - std::min(gpa, kLongestSite - 1));
  for (auto it = first; it != sites_.end() && it->first < gpa + bytes.size(); ++it) {
    const auto original = OriginalOf(it->second);
    for (size_t i = 0; i < it->second.length(); ++i) {
      uint64_t at = it->first + i - gpa;
      if (at < bytes.size()) bytes[at] = std::byte{original[i]};
    }
  }
}

std::vector<Mapping> GuestCode::Mappings() const {
  constexpr uint32_t kCode = PROT_READ | PROT_EXEC;
  absl::MutexLock lock(&mutex_);
  std::vector<Mapping> mappings = {{TRAPLINE_NEAR_STUBS, kNearSize, 0, kStubsFd, kCode},
                                   {TRAPLINE_SITE_TABLE, table_->size(), 0, kTableFd, PROT_READ}};
  for (size_t i = 0; i < stub_pages_.size(); ++i)
    mappings.push_back({stub_pages_[i], kPage, kNearSize + i * kPage, kStubsFd, kCode});
  return mappings;
}

}  // namespace trapline::engine::direct
