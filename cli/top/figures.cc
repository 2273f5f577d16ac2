// SPDX-License-Identifier: Apache-2.0
// Figures and words in few characters.
#include "cli/top/figures.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/top/grid.h"
#include "cli/top/listing.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

constexpr std::array<const char*, 6> kUnits = {"k", "M", "G", "T", "P", "E"};
constexpr size_t kShortWord = 3;

std::string NameOf(const TrackedSite::Number& number) {
  return number.name.empty() ? absl::StrCat(number.number) : number.name;
}

}  // namespace

std::string Scaled(double value) {
  if (!(value > 0)) return "0";
  if (value < 0.05) return "<0.1";
  if (value < 9.95) {
    std::string text = absl::StrFormat("%.1f", value);
    return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
  }
  if (value < 9999.5) return absl::StrFormat("%.0f", value);
  size_t unit = 0;
  value /= 1000;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f%s", decimals, value, kUnits[unit]);
}

std::string Fitted(uint64_t value, int width) {
  std::string text = Grouped(value);
  return CellsOf(text) <= width ? text : Scaled(static_cast<double>(value));
}

bool IsMarked(const TrackedSite& site, absl::Time now) {
  return site.change && now - site.change->time < kMarkedFor;
}

std::string StateText(const TrackedSite& site, absl::Time now, int width, const Glyphs& glyphs) {
  const absl::string_view word = StateWord(site.state);
  if (!IsMarked(site, now)) return std::string(word);
  const absl::string_view from = StateWord(site.change->from);
  const absl::string_view arrow = glyphs.arrow();
  for (const auto& text :
       {absl::StrCat(from, arrow, word), absl::StrCat(from.substr(0, kShortWord), arrow, word)}) {
    if (CellsOf(text) <= width) return text;
  }
  return absl::StrCat(from.substr(0, kShortWord), arrow, word.substr(0, kShortWord));
}

std::string NumbersText(const TrackedSite& site, int width) {
  std::vector<TrackedSite::Number> numbers = site.numbers;
  std::sort(numbers.begin(), numbers.end(),
            [](const auto& a, const auto& b) { return a.calls > b.calls; });
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const std::string left =
        i + 1 < numbers.size() ? absl::StrCat(" +", numbers.size() - i - 1) : "";
    std::string longer = absl::StrCat(text, i == 0 ? "" : " ", NameOf(numbers[i]));
    if (i > 0 && CellsOf(longer) + CellsOf(left) > width)
      return absl::StrCat(text, " +", numbers.size() - i);
    text = std::move(longer);
  }
  return text;
}

std::string TroubleOf(const Model& model) {
  for (const TrackedVm& vm : model.vms()) {
    if (vm.link == Link::kLost) return absl::StrCat(vm.id, ": ", vm.trouble, "; trying again");
  }
  return model.trouble().empty() ? "" : absl::StrCat(model.trouble(), "; trying again");
}

}  // namespace trapline::cli::top
