// SPDX-License-Identifier: Apache-2.0
// Page by page.
#include "core/vm/linear_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/x86/paging.h"

namespace trapline::vm {

absl::Status ReadLinear(engine::Vcpu& vcpu, const machine::GuestMemory& memory, uint64_t linear,
                        std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    size_t piece = std::min<size_t>(bytes.size(), x86::kPageSize - (linear & x86::kPageMask));
    auto gpa = vcpu.Translate(linear);
    if (!gpa.ok()) return gpa.status();
    if (auto status = memory.Read(*gpa, bytes.first(piece)); !status.ok()) return status;
    bytes = bytes.subspan(piece);
    linear += piece;
  }
  return absl::OkStatus();
}

absl::Status WriteLinear(engine::Vcpu& vcpu, machine::GuestMemory& memory, uint64_t linear,
                         std::span<const std::byte> bytes) {
  size_t first = std::min<size_t>(bytes.size(), x86::kPageSize - (linear & x86::kPageMask));
  const std::span<const std::byte> pieces[] = {bytes.first(first), bytes.subspan(first)};
  std::byte* host[2] = {};
  for (size_t i = 0; i < 2 && !pieces[i].empty(); ++i) {
    uint64_t at = linear + (i == 0 ? 0 : first);
    auto gpa = vcpu.Translate(at);
    host[i] = gpa.ok() ? memory.FindWritable(*gpa, pieces[i].size()) : nullptr;
    if (!host[i]) {
      return absl::FailedPreconditionError(absl::StrCat(
          "0x", absl::Hex(at), gpa.ok() ? " is no memory that may be written" : " is not mapped"));
    }
  }
  for (size_t i = 0; i < 2 && host[i]; ++i) std::copy(pieces[i].begin(), pieces[i].end(), host[i]);
  return absl::OkStatus();
}

}  // namespace trapline::vm
