// SPDX-License-Identifier: Apache-2.0
// One site's page, as lines to scroll through.
#include "cli/top/site_page.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/hex_text.h"
#include "cli/names.h"
#include "cli/top/code_lines.h"
#include "cli/top/figures.h"
#include "cli/top/histogram_lines.h"
#include "cli/top/list_page.h"
#include "cli/top/listing.h"
#include "cli/trace/call_text.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

constexpr uint64_t kHistoryShown = 24;
constexpr size_t kNameWidth = 11;

class Writer {
 public:
  void Heading(absl::string_view title, absl::string_view more = "") {
    if (!page_.lines.empty()) page_.lines.emplace_back();
    page_.sections.push_back(page_.lines.size());
    page_.lines.push_back({{std::string(title), Style::kBold}, {absl::StrCat("  ", more)}});
  }
  void Line(std::vector<Span> spans) { page_.lines.push_back(std::move(spans)); }
  void Lines(std::vector<std::vector<Span>> lines) {
    for (auto& line : lines) Line(std::move(line));
  }
  // "State      linked"
  void Named(absl::string_view name, std::vector<Span> value) {
    value.insert(
        value.begin(),
        {absl::StrCat(name, std::string(kNameWidth - std::min(kNameWidth, name.size()), ' ')),
         Style::kDim});
    Line(std::move(value));
  }
  // Why a section is empty.
  void Nothing(absl::string_view trouble, absl::string_view otherwise) {
    if (trouble.empty()) {
      Line({{std::string(otherwise), Style::kDim}});
    } else {
      Line({{std::string(trouble), Style::kBad}});
    }
  }
  SitePage Take() { return std::move(page_); }

 private:
  SitePage page_;
};

std::string BytesText(const v1::Site& site, const Glyphs& glyphs) {
  if (site.original() == site.current()) return SpacedHex(site.original());
  return absl::StrCat(SpacedHex(site.original()), " ", glyphs.arrow(), " ",
                      SpacedHex(site.current()));
}

std::string GuestTime(const google::protobuf::Duration& time) {
  return absl::StrFormat("%d.%06d s", time.seconds(), time.nanos() / 1000);
}

void WriteFigures(Writer& out, const v1::Site& site, const TrackedSite* tracked, const Model& model,
                  const Glyphs& glyphs) {
  out.Named(
      "Calls",
      {{absl::StrCat(Grouped(site.traps()), " traps, ", Grouped(site.fast_calls()), " fast")}});
  if (tracked != nullptr) {
    out.Named("Rate",
              {{absl::StrCat(Scaled(model.RatesOf(*tracked).calls), " calls/s, ",
                             Scaled(model.CyclesPerCall(*tracked)), " cycles each  ")},
               {Sparkline(model.HistoryOf(*tracked, kHistoryShown), glyphs), Style::kGood}});
  }
  std::vector<Span> numbers;
  for (const auto& number : site.numbers()) {
    numbers.push_back(
        {absl::StrCat(numbers.empty() ? "" : ", ",
                      number.name().empty() ? absl::StrCat(number.number()) : number.name(), " ",
                      Grouped(number.calls()))});
  }
  if (!numbers.empty()) out.Named("Hypercalls", std::move(numbers));
}

void WriteRecord(Writer& out, const SiteDetail& detail, const Model& model, const Glyphs& glyphs) {
  const TrackedSite* tracked = model.Find(detail.key);
  out.Heading(absl::StrCat("SITE ", Hex(detail.key.gpa)), detail.site ? detail.site->symbol() : "");
  if (!detail.site) {
    out.Nothing(detail.site_trouble, "asking for it");
    return;
  }
  const v1::Site& site = *detail.site;
  if (!detail.site_trouble.empty()) out.Nothing(detail.site_trouble, "");
  out.Named("State",
            {{std::string(StateWord(site.state())), StyleOf(site.state())},
             {site.state_reason().empty() ? "" : absl::StrCat("  (", site.state_reason(), ")")},
             {absl::StrCat("  ", BytesText(site, glyphs)), Style::kDim}});
  out.Named("Address", {{absl::StrCat(Hex(site.gva()), ", guest-physical ", Hex(site.gpa()),
                                      ", CPL ", site.cpl())}});
  out.Named("Policy", {{site.has_policy() ? absl::StrCat("its own: ", PolicyText(site.policy()))
                                          : "the VM's"}});
  WriteFigures(out, site, tracked, model, glyphs);
  if (site.has_last_use())
    out.Named("Used", {{absl::StrCat("first at ", GuestTime(site.first_use()), ", last at ",
                                     GuestTime(site.last_use()), " of guest time")}});
}

std::string TransitionText(const v1::SiteTransition& transition, const Glyphs& glyphs) {
  const bool found = transition.from() == v1::Site::STATE_UNSPECIFIED;
  std::string text = absl::StrFormat("%-16s %s%s%s", GuestTime(transition.guest_time()),
                                     found ? "found, " : absl::StrCat(StateWord(transition.from())),
                                     found ? "" : glyphs.arrow(), StateWord(transition.to()));
  if (!transition.reason().empty()) absl::StrAppend(&text, "  ", transition.reason());
  if (transition.has_vcpu()) absl::StrAppend(&text, "  by vCPU ", transition.vcpu());
  return text;
}

void WriteTransitions(Writer& out, const SiteDetail& detail, const Glyphs& glyphs) {
  out.Heading("TRANSITIONS", detail.transitions_lost == 0
                                 ? ""
                                 : absl::StrCat(detail.transitions_lost,
                                                " older ones of the VM had to make room"));
  for (const v1::SiteTransition& transition : detail.transitions)
    out.Line({{TransitionText(transition, glyphs), StyleOf(transition.to())}});
  if (detail.transitions.empty()) out.Nothing(detail.transitions_trouble, "none");
}

void WriteCalls(Writer& out, const SiteDetail& detail) {
  std::string how = "t follows them; that slows the VM";
  if (detail.tracing) {
    how = "live; t stops";
    if (detail.sample > 1) absl::StrAppend(&how, "; one in ", detail.sample);
    if (detail.dropped > 0) absl::StrAppend(&how, "; ", Grouped(detail.dropped), " dropped");
  }
  out.Heading("RECENT CALLS", how);
  // Newest first: they are at the end of the page.
  for (auto record = detail.calls.rbegin(); record != detail.calls.rend(); ++record) {
    out.Line({{RecordText(*record)}});
  }
  if (detail.calls.empty()) out.Nothing(detail.trace_trouble, "none on record");
}

}  // namespace

SitePage SitePageOf(const SiteDetail& detail, const Model& model, int width, const Glyphs& glyphs) {
  Writer out;
  WriteRecord(out, detail, model, glyphs);
  if (detail.site) {
    out.Heading("CYCLES OF A CALL", "calls that were timed, by way in");
    out.Lines(HistogramLines(*detail.site, width, glyphs));
  }
  out.Heading("CODE", "as the guest wrote it, and as it is");
  if (detail.code) {
    out.Lines(CodeLines(*detail.code, width, glyphs));
  } else {
    out.Nothing(detail.code_trouble, "asking for it");
  }
  WriteTransitions(out, detail, glyphs);
  WriteCalls(out, detail);
  return out.Take();
}

}  // namespace trapline::cli::top
