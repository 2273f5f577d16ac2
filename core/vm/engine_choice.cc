// SPDX-License-Identifier: Apache-2.0
// `direct` if it can be.
#include "core/vm/engine_choice.h"

#include "absl/strings/str_cat.h"
#include "core/x86/paging.h"

namespace trapline::vm {
namespace {

// OK where this image can run natively here.
absl::Status CheckDirect(const machine::LoadedImage& image,
                         absl::FunctionRef<const engine::direct::HostProbe&()> probe) {
  if (!image.abi_version) {
    return absl::InvalidArgumentError(
        "the image has no ELF note of the paravirtual ABI (core/guest/abi.h)");
  }
  if (auto status = engine::direct::CheckImage(SegmentsOf(image)); !status.ok()) return status;
  const std::string& missing = probe().missing;
  return missing.empty() ? absl::OkStatus()
                         : absl::UnavailableError(absl::StrCat("this host cannot: ", missing));
}

}  // namespace

std::vector<engine::direct::ImageSegment> SegmentsOf(const machine::LoadedImage& image) {
  std::vector<engine::direct::ImageSegment> segments;
  for (const machine::Segment& s : image.segments)
    segments.push_back({s.gpa, s.size, s.writable, s.executable});
  return segments;
}

std::vector<machine::RamRange> ReadOnlyRanges(
    const std::vector<engine::direct::ImageSegment>& segments) {
  std::vector<machine::RamRange> ranges;
  for (const auto& segment : segments) {
    if (segment.writable) continue;
    ranges.push_back({segment.gpa & ~x86::kPageMask,
                      (segment.gpa + segment.size + x86::kPageMask) & ~x86::kPageMask});
  }
  return ranges;
}

absl::StatusOr<ChosenEngine> ChooseEngine(
    EngineKind wanted, const machine::LoadedImage& image,
    absl::FunctionRef<const engine::direct::HostProbe&()> probe) {
  if (wanted == EngineKind::kKvm)
    return absl::UnimplementedError("this version has no engine kvm; soft runs every image");
  if (wanted == EngineKind::kSoft) return ChosenEngine{wanted, "as asked for"};
  absl::Status direct = CheckDirect(image, probe);
  if (wanted == EngineKind::kDirect) {
    if (direct.ok()) return ChosenEngine{wanted, "as asked for"};
    return absl::Status(direct.code(),
                        absl::StrCat("direct: ", direct.message(), "; soft runs every image"));
  }
  if (!direct.ok())
    return ChosenEngine{EngineKind::kSoft, absl::StrCat("not direct: ", direct.message())};
  return ChosenEngine{EngineKind::kDirect, "the image is written for the paravirtual ABI"};
}

}  // namespace trapline::vm
