// SPDX-License-Identifier: Apache-2.0
// The code around a site, as the guest wrote it beside as it is now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/engine/engine.h"
#include "core/machine/loader/image.h"
#include "core/vm/disassembler.h"
#include "core/vm/vm.h"

namespace trapline::vm {

// The pages of guest memory around a site: its own, and what is mapped before and behind it.
class SitePlace {
 public:
  // function: the symbol that covers gva, if there is one.
  SitePlace(uint64_t gva, uint64_t gpa, const machine::Symbol* function);
  // Takes in the pages that it wants and that translate has, up to the first it has not.
  void Extend(absl::FunctionRef<absl::StatusOr<uint64_t>(uint64_t linear)> translate);

  // Linear, of the first page.
  uint64_t address() const { return address_; }
  // Guest-physical, in linear order.
  const std::vector<uint64_t>& pages() const { return pages_; }
  const std::optional<uint64_t>& function() const { return function_; }

 private:
  const uint64_t gva_;
  std::optional<uint64_t> function_;
  uint64_t address_;
  std::vector<uint64_t> pages_;
};

// A piece of guest code around a site, read twice.
struct CodeWindow {
  uint64_t address = 0;                      // linear
  std::vector<std::byte> original, current;  // of one size
  unsigned code_bits = 64;
  std::optional<uint64_t> function;  // where the function that holds the site begins, if known
};

// The instruction at site with those around it. Where instructions begin before it follows from the
// start of the function, else from the start that most others agree with: code has no marks to read
// it backwards by. What stands in place of the site is shown by its own instructions, which may
// reach over what is behind it.
std::vector<SiteLine> SiteLines(const CodeWindow& window, uint64_t site, uint32_t before,
                                uint32_t after, const Names& names);

// A trampoline's instructions, a bounded number of them.
SiteTrampoline DescribeTrampoline(const engine::Trampoline& trampoline, const Names& names);

}  // namespace trapline::vm
