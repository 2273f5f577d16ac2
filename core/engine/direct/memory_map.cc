// SPDX-License-Identifier: Apache-2.0
// Pages and rights.
#include "core/engine/direct/memory_map.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::engine::direct {
namespace {

constexpr uint64_t kCodeEnd = uint64_t{4} << 30;  // stubs hold addresses of 32 bits
constexpr uint64_t kProgramSize = 1 << 20;        // more than it is

uint64_t Down(uint64_t address) { return address & ~(kPage - 1); }
uint64_t Up(uint64_t address) { return Down(address + kPage - 1); }

uint32_t RightsOf(const ImageSegment& segment) {
  if (segment.executable) return PROT_READ | PROT_EXEC;
  return segment.writable ? PROT_READ | PROT_WRITE : PROT_READ;
}

absl::Status Refuse(const ImageSegment& segment, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("the segment at 0x", absl::Hex(segment.gpa), " ",
                                                 why, "; engine soft takes it"));
}

}  // namespace

absl::Status CheckSegments(std::span<const ImageSegment> segments) {
  if (segments.empty()) return absl::InvalidArgumentError("the image is no ELF64 executable");
  for (size_t i = 0; i < segments.size(); ++i) {
    const ImageSegment& segment = segments[i];
    if (segment.executable && segment.writable)
      return Refuse(segment, "is executable and writable, and text must not change unseen");
    if (segment.executable && segment.gpa + segment.size > kCodeEnd)
      return Refuse(segment, "is executable and above 4 GiB");
    if (i + 1 < segments.size() && Up(segment.gpa + segment.size) > Down(segments[i + 1].gpa) &&
        RightsOf(segment) != RightsOf(segments[i + 1]))
      return Refuse(segment, "shares a page with one that has other rights");
  }
  return absl::OkStatus();
}

std::vector<Mapping> MapRam(std::span<const RamRegion> ram,
                            std::span<const ImageSegment> segments) {
  constexpr uint32_t kReadWrite = PROT_READ | PROT_WRITE;
  // Around what the engine has among them.
  constexpr std::pair<uint64_t, uint64_t> kPieces[] = {{TRAPLINE_RAM_START, TRAPLINE_CONTROL},
                                                       {TRAPLINE_NEAR_END, ~uint64_t{0}}};
  std::vector<Mapping> mappings;
  uint64_t offset = 0;
  for (const RamRegion& region : ram) {
    for (auto [start, stop] : kPieces) {
      uint64_t at = std::max(region.gpa, start), end = std::min(region.gpa + region.size, stop);
      auto add = [&](uint64_t to, uint32_t rights) {
        to = std::min(to, end);
        if (to <= at) return;
        mappings.push_back({at, to - at, offset + (at - region.gpa), kRamFd, rights});
        at = to;
      };
      for (const ImageSegment& segment : segments) {
        add(Down(segment.gpa), kReadWrite);
        add(Up(segment.gpa + segment.size), RightsOf(segment));
      }
      add(end, kReadWrite);
    }
    offset += region.size;
  }
  return mappings;
}

std::vector<Gap> GapsBetween(std::span<const Mapping> mappings) {
  std::vector<Gap> kept = {{TRAPLINE_CONTROL, TRAPLINE_RING + kRingSize - TRAPLINE_CONTROL},
                           {TRAPLINE_PROGRAM, kProgramSize},
                           {TRAPLINE_SETUP, kMaxSetupSize}};
  for (const Mapping& mapping : mappings) kept.push_back({mapping.address, Up(mapping.size)});
  std::sort(kept.begin(), kept.end(),
            [](const Gap& a, const Gap& b) { return a.address < b.address; });
  std::vector<Gap> gaps;
  uint64_t at = 0;
  for (const Gap& piece : kept) {
    if (piece.address > at) gaps.push_back({at, piece.address - at});
    at = std::max(at, piece.address + piece.size);
  }
  gaps.push_back({at, TRAPLINE_ADDRESS_END - at});
  return gaps;
}

}  // namespace trapline::engine::direct
