// SPDX-License-Identifier: Apache-2.0
// A trace as a table at its end.
#include "cli/trace/trace_summary.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/trace/call_text.h"
#include "cli/units.h"
#include "core/guest/hypercalls.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {
namespace {

constexpr double kMedian = 0.5, kHigh = 0.99;

std::string Share(uint64_t part, uint64_t whole) {
  return absl::StrFormat(
      "%.2f", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

SummaryOrder SummaryOrderOf(absl::string_view name) {
  if (name == "calls") return SummaryOrder::kCalls;
  if (name == "avg") return SummaryOrder::kAverage;
  if (name == "failed") return SummaryOrder::kFailed;
  return SummaryOrder::kCycles;
}

std::string TraceSummary::Row::name() const {
  return others ? "others" : guest::HypercallName(number);
}

void TraceSummary::Take(const TraceStep& step, const TracedSites&, std::string&) {
  dropped_ += step.dropped;
  for (const TracedCall& call : step.calls) {
    if (last_ == nullptr || last_->others || last_->number != call.number ||
        last_->path != call.path)
      last_ = &RowFor(call.number, call.path);
    ++last_->calls;
    last_->failed += guest::IsError(call.result) ? 1 : 0;
    last_->cycles += call.cycles;
    last_->histogram.Add(call.cycles);
  }
}

TraceSummary::Row& TraceSummary::RowFor(uint64_t number, uint8_t path) {
  const std::pair<uint64_t, uint8_t> key(number, path);
  auto found = rows_.find(key);
  if (found != rows_.end()) return found->second;
  const bool named = guest::FindHypercall(number) != nullptr;
  const bool others = !named && unnamed_ >= kMaxUnnamed;
  if (!named && !others) ++unnamed_;
  Row& row = others ? others_[path] : rows_[key];
  row.number = number;
  row.path = path;
  row.others = others;
  return row;
}

std::vector<const TraceSummary::Row*> TraceSummary::Ordered() const {
  std::vector<const Row*> rows;
  for (const auto& [key, row] : rows_) rows.push_back(&row);
  for (const auto& [path, row] : others_) rows.push_back(&row);
  const auto weight = [this](const Row& row) {
    switch (look_.order) {
      case SummaryOrder::kCalls:
        return row.calls;
      case SummaryOrder::kAverage:
        return row.average();
      case SummaryOrder::kFailed:
        return row.failed;
      case SummaryOrder::kCycles:
        break;
    }
    return row.cycles;
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const Row* a, const Row* b) { return weight(*a) > weight(*b); });
  return rows;
}

TraceSummary::Row TraceSummary::Total() const {
  Row total;
  for (const Row* row : Ordered()) {
    total.calls += row->calls;
    total.failed += row->failed;
    total.cycles += row->cycles;
    total.histogram.Add(row->histogram);
  }
  return total;
}

void TraceSummary::End(std::string& out) {
  if (look_.json) {
    AppendDocument(out);
  } else {
    AppendTable(out);
  }
}

void TraceSummary::AppendTable(std::string& out) const {
  using enum Align;
  Table table({{"% CYCLES", kRight},
               {"CYCLES", kRight},
               {"AVG", kRight},
               {"P50", kRight},
               {"P99", kRight},
               {"CALLS", kRight},
               {"FAILED", kRight},
               {"PATH"},
               {"CALL"}});
  const Row total = Total();
  const auto add = [&](const Row& row, absl::string_view path, absl::string_view name) {
    table.Add({Share(row.cycles, total.cycles), absl::StrCat(row.cycles),
               absl::StrCat(row.average()), absl::StrCat(row.histogram.Quantile(kMedian)),
               absl::StrCat(row.histogram.Quantile(kHigh)), absl::StrCat(row.calls),
               row.failed == 0 ? Cell("") : Cell(absl::StrCat(row.failed), Colour::kRed), path,
               name});
  };
  for (const Row* row : Ordered()) add(*row, PathName(row->path), row->name());
  add(total, "", "total");
  absl::StrAppend(&out, table.Render(look_.colour));
  if (look_.sample > 1) absl::StrAppend(&out, "One call in ", Grouped(look_.sample), ".\n");
  if (dropped_ > 0) absl::StrAppend(&out, Grouped(dropped_), " more were not seen (dropped).\n");
}

// 64-bit numbers are strings, as in the API's JSON.
void TraceSummary::AppendDocument(std::string& out) const {
  google::protobuf::Struct document;
  const auto fill = [](const Row& row, google::protobuf::Struct& to) {
    auto& fields = *to.mutable_fields();
    const auto set = [&fields](const char* name, uint64_t value) {
      fields[name].set_string_value(absl::StrCat(value));
    };
    set("calls", row.calls);
    set("failed", row.failed);
    set("cycles", row.cycles);
    set("averageCycles", row.average());
    set("p50Cycles", row.histogram.Quantile(kMedian));
    set("p99Cycles", row.histogram.Quantile(kHigh));
  };
  auto& rows = *(*document.mutable_fields())["hypercalls"].mutable_list_value();
  for (const Row* row : Ordered()) {
    auto& entry = *rows.add_values()->mutable_struct_value();
    fill(*row, entry);
    auto& fields = *entry.mutable_fields();
    if (!row->others) fields["number"].set_string_value(absl::StrCat(row->number));
    fields["name"].set_string_value(row->name());
    fields["path"].set_string_value(std::string(PathName(row->path)));
  }
  fill(Total(), *(*document.mutable_fields())["total"].mutable_struct_value());
  (*document.mutable_fields())["dropped"].set_string_value(absl::StrCat(dropped_));
  (*document.mutable_fields())["sample"].set_number_value(look_.sample);
  absl::StrAppend(&out, ToJson(document, true));
}

}  // namespace trapline::cli
