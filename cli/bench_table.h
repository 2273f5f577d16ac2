// SPDX-License-Identifier: Apache-2.0
// The technique table: what lguest measured in 2008, what the guest measured here, and the ratios.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {

struct TechniqueRow {
  std::string technique;         // "direct", "emulate", "interrupt", "linked"
  std::vector<uint64_t> cycles;  // of one hypercall, one figure for each run
};

// Finds the line "technique: n n n ..." in what the benchmark guest printed. INTERNAL where it is
// not there.
absl::StatusOr<TechniqueRow> ParseTechniqueRow(absl::string_view output,
                                               absl::string_view technique);

// The middle figure (of an even number, the lower of the two); 0 for none.
uint64_t Median(std::vector<uint64_t> figures);

// The whole report as text.
std::string RenderTechniqueTable(const std::vector<TechniqueRow>& rows, bool colour);

}  // namespace trapline::cli
