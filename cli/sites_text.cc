// SPDX-License-Identifier: Apache-2.0
// Sites as people read them.
#include "cli/sites_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/hex_text.h"
#include "cli/names.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr uint64_t kBarWidth = 40;

uint64_t Cycles(const v1::Site& site) {
  uint64_t sum = 0;
  for (const auto& path : site.paths()) sum += path.cycles();
  return sum;
}

// Of one call, over all its paths; "-" where there was none.
std::string MeanCycles(uint64_t cycles, uint64_t calls) {
  return calls == 0 ? "-" : Grouped(cycles / calls);
}

// The number called most: "send_ipi", "send_ipi+2" where there are others.
std::string NumbersText(const v1::Site& site) {
  const auto& numbers = site.numbers();
  if (numbers.empty()) return "";
  const auto most =
      std::max_element(numbers.begin(), numbers.end(),
                       [](const auto& a, const auto& b) { return a.calls() < b.calls(); });
  const std::string name = most->name().empty() ? absl::StrCat(most->number()) : most->name();
  return numbers.size() == 1 ? name : absl::StrCat(name, " +", numbers.size() - 1);
}

std::string BytesText(const v1::Site& site) {
  return site.original() == site.current()
             ? SpacedHex(site.original())
             : absl::StrCat(SpacedHex(site.original()), " -> ", SpacedHex(site.current()));
}

// A bar for each power of two that has calls, and for the empty ones between them.
std::string HistogramText(const v1::Site::PathStats& path) {
  const auto& buckets = path.histogram();
  const auto used = [](uint64_t calls) { return calls != 0; };
  const auto first = std::find_if(buckets.begin(), buckets.end(), used);
  if (first == buckets.end()) return "";
  const uint64_t most = *std::max_element(buckets.begin(), buckets.end());
  int last = buckets.size() - 1;
  while (buckets[last] == 0) --last;
  std::string out;
  for (int i = static_cast<int>(first - buckets.begin()); i <= last; ++i) {
    const uint64_t width =
        buckets[i] == 0 ? 0 : std::max<uint64_t>(1, buckets[i] / (most / kBarWidth + 1));
    absl::StrAppendFormat(&out, "    %12s  %-12s %s\n", Grouped(uint64_t{1} << std::min(i, 63)),
                          Grouped(buckets[i]), std::string(width, '#'));
  }
  return out;
}

std::string PathText(const v1::Site::PathStats& path, bool colour) {
  if (path.calls() == 0) return "";
  return absl::StrCat(
      "\n",
      Paint(absl::StrCat(path.path() == v1::TECHNIQUE_EMULATE ? "trap" : TechniqueName(path.path()),
                         ": ", Grouped(path.calls()), " calls, mean ",
                         MeanCycles(path.cycles(), path.calls()), " cycles"),
            Colour::kBold, colour),
      "\n", HistogramText(path));
}

}  // namespace

std::string SiteStateName(v1::Site::State state) {
  return ShortName(v1::Site::State_Name(state), "STATE_");
}

Cell SiteStateCell(v1::Site::State state) {
  Colour colour = Colour::kPlain;
  switch (state) {
    case v1::Site::LINKED:
      colour = Colour::kGreen;
      break;
    case v1::Site::PATCHED:
      colour = Colour::kCyan;
      break;
    case v1::Site::TRAPPING:
    case v1::Site::PINNED:
    case v1::Site::AMBIGUOUS:
      colour = Colour::kYellow;
      break;
    case v1::Site::RETIRED:
      colour = Colour::kDim;
      break;
    default:
      break;
  }
  return Cell(SiteStateName(state), colour);
}

std::string SiteTable(const std::vector<v1::Site>& sites, bool colour) {
  Table table({{"GPA"},
               {"SYMBOL"},
               {"STATE"},
               {"BYTES"},
               {"CALLS"},
               {"TRAPS", Align::kRight},
               {"FAST", Align::kRight},
               {"CYCLES/CALL", Align::kRight},
               {"WHY"}});
  for (const v1::Site& site : sites) {
    table.Add({LastSegment(site.name()), site.symbol().empty() ? Hex(site.gva()) : site.symbol(),
               SiteStateCell(site), BytesText(site), NumbersText(site), Grouped(site.traps()),
               Grouped(site.fast_calls()),
               MeanCycles(Cycles(site), site.traps() + site.fast_calls()), site.state_reason()});
  }
  return table.Render(colour);
}

std::string SiteDetails(const v1::Site& site, bool colour) {
  Details details;
  details.Add("Site", site.name());
  details.AddIfSet("Symbol", site.symbol());
  details.Add("Address", absl::StrCat(Hex(site.gva()), " (guest-physical ", Hex(site.gpa()), ")"));
  details.Add("Privilege level", absl::StrCat(site.cpl()));
  details.Add("State", SiteStateCell(site));
  details.AddIfSet("Reason", site.state_reason());
  details.Add("Technique", TechniqueName(site.technique()));
  if (site.has_policy()) details.Add("Own policy", PolicyText(site.policy()));
  details.Add("Original bytes", SpacedHex(site.original()));
  details.Add("Bytes now", SpacedHex(site.current()));
  details.Add("Traps", Grouped(site.traps()));
  details.Add("Fast calls", Grouped(site.fast_calls()));
  for (const auto& number : site.numbers()) {
    details.Add("Hypercall", absl::StrCat(number.number(), number.name().empty() ? "" : " ",
                                          number.name(), ": ", Grouped(number.calls()), " calls"));
  }
  if (site.has_first_use())
    details.Add("First use", absl::StrCat(GuestTime(site.first_use()), " of guest time"));
  if (site.has_last_use())
    details.Add("Last use", absl::StrCat(GuestTime(site.last_use()), " of guest time"));
  std::string out = details.Render(colour);
  for (const auto& path : site.paths()) absl::StrAppend(&out, PathText(path, colour));
  return out;
}

std::optional<double> CyclesPerCall(const v1::Site& site) {
  const uint64_t calls = site.traps() + site.fast_calls();
  if (calls == 0) return std::nullopt;
  return static_cast<double>(Cycles(site)) / static_cast<double>(calls);
}

std::string TransitionTable(const std::vector<v1::SiteTransition>& transitions, uint64_t lost,
                            bool colour) {
  Table table({{"TIME"},
               {"GUEST TIME", Align::kRight},
               {"VCPU", Align::kRight},
               {"SITE"},
               {"SYMBOL"},
               {"FROM"},
               {"TO"},
               {"REASON"},
               {"POLICY"}});
  for (const v1::SiteTransition& transition : transitions) {
    const Cell from = SiteStateCell(transition.from());
    table.Add({TimeText(transition.time()), GuestTime(transition.guest_time()),
               transition.has_vcpu() ? absl::StrCat(transition.vcpu()) : "-",
               LastSegment(transition.site()),
               transition.symbol().empty() ? "-" : transition.symbol(),
               from.text.empty() ? Cell("new", Colour::kDim) : from, SiteStateCell(transition.to()),
               transition.reason(), PolicyText(transition.policy())});
  }
  return absl::StrCat(
      lost == 0 ? "" : absl::StrCat("(", Grouped(lost), " older ones had to make room)\n"),
      table.Render(colour));
}

}  // namespace trapline::cli
