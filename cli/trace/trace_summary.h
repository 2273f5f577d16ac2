// SPDX-License-Identifier: Apache-2.0
// A trace as a table at its end, in the manner of `strace -c`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/trace/cycle_histogram.h"
#include "cli/trace/trace_sink.h"

namespace trapline::cli {

enum class SummaryOrder { kCycles, kCalls, kAverage, kFailed };
constexpr const char* kSummaryOrders = "cycles|calls|avg|failed";
// Of one of these names.
SummaryOrder SummaryOrderOf(absl::string_view name);

// A row for each hypercall and way in.
class TraceSummary : public TraceSink {
 public:
  struct Look {
    SummaryOrder order = SummaryOrder::kCycles;
    bool json = false;  // one document
    bool colour = false;
    uint32_t sample = 1;  // it is told of one call in so many
  };
  explicit TraceSummary(const Look& look) : look_(look) {}

  void Take(const TraceStep& step, const TracedSites& sites, std::string& out) override;
  void End(std::string& out) override;

 private:
  // A guest may call by any number, so only so many that have no name get rows; the rest share one.
  static constexpr size_t kMaxUnnamed = 64;

  struct Row {
    uint64_t number = 0;
    bool others = false;
    uint8_t path = 0;
    uint64_t calls = 0, failed = 0, cycles = 0;
    CycleHistogram histogram;

    uint64_t average() const { return calls == 0 ? 0 : cycles / calls; }
    std::string name() const;
  };

  Row& RowFor(uint64_t number, uint8_t path);
  std::vector<const Row*> Ordered() const;
  Row Total() const;
  void AppendTable(std::string& out) const;
  void AppendDocument(std::string& out) const;

  const Look look_;
  // By number and path; map nodes stay where they are.
  std::map<std::pair<uint64_t, uint8_t>, Row> rows_;
  std::map<uint8_t, Row> others_;
  size_t unnamed_ = 0;
  Row* last_ = nullptr;  // what most calls find again
  uint64_t dropped_ = 0;
};

}  // namespace trapline::cli
