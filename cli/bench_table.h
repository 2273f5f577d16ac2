// SPDX-License-Identifier: Apache-2.0
// The technique table: what lguest measured in 2008, what the guest measured here, and the ratios.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {

// A row of the table that can be measured.
struct BenchRow {
  absl::string_view name;       // for --techniques
  absl::string_view technique;  // the guest's and the policy's word
  absl::string_view options;    // the guest's others
  absl::string_view what;       // one line for people
};
// In the order of the table.
std::span<const BenchRow> BenchRows();
// Null where there is none of that name.
const BenchRow* FindBenchRow(absl::string_view name);

// lguest's host on a 2008 CPU without VT, cycles of one hypercall (core/README.md tells the story).
struct HistoricRow {
  absl::string_view name;
  std::array<uint64_t, 5> cycles;
};
std::span<const HistoricRow> LguestRows();

struct TechniqueRow {
  std::string name;              // a BenchRow's
  std::vector<uint64_t> cycles;  // of one hypercall, one figure for each run
  uint64_t khz = 0;              // the counter that the guest read; 0: not known
};

// Finds the lines "technique: n n n ..." and "khz: n" in what the benchmark guest printed, for a
// row of that name. INTERNAL where there are no figures.
absl::StatusOr<TechniqueRow> ParseTechniqueRow(absl::string_view output, const BenchRow& wanted);

// The middle figure (of an even number, the lower of the two); 0 for none.
uint64_t Median(std::vector<uint64_t> figures);

// The median call in nanoseconds; 0 where the frequency is not known.
double Nanoseconds(const TechniqueRow& row);

// How many times cheaper a row is than emulation: of the medians, and the least and the most of run
// by run. All 0 where there is nothing to compare.
struct Ratio {
  double median = 0, least = 0, most = 0;
};
Ratio AgainstEmulation(const std::vector<TechniqueRow>& rows, const TechniqueRow& row);

// The whole report as text. where: "engine direct: ...", or empty.
std::string RenderTechniqueTable(const std::vector<TechniqueRow>& rows, absl::string_view where,
                                 bool colour);

}  // namespace trapline::cli
