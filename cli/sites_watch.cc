// SPDX-License-Identifier: Apache-2.0
// Sites as they change.
#include "cli/sites_watch.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/names.h"
#include "cli/sites_text.h"
#include "cli/stream.h"
#include "cli/units.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kClearScreen = "\033[H\033[2J";

// Keyed by guest-physical address, which is also the order to show them in.
using SitesByAddress = std::map<uint64_t, v1::Site>;

std::string Screen(const std::string& vm, const SitesByAddress& known, bool colour) {
  std::vector<v1::Site> sites;
  for (const auto& [gpa, site] : known) sites.push_back(site);
  return absl::StrCat(kClearScreen, LastSegment(vm), "  ",
                      absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone()),
                      "  (Ctrl-C ends)\n\n", SiteTable(sites, colour));
}

// "+12 traps": what was added since the site was last heard of.
std::string DeltaLine(const v1::Site& site, const v1::Site* before, bool colour) {
  const Cell state = SiteStateCell(site);
  const uint64_t traps =
      site.traps() - (before == nullptr ? 0 : std::min(before->traps(), site.traps()));
  const uint64_t fast = site.fast_calls() -
                        (before == nullptr ? 0 : std::min(before->fast_calls(), site.fast_calls()));
  std::string line =
      absl::StrFormat("%s  %-12s %-36s %s  +%s traps  +%s fast",
                      absl::FormatTime("%H:%M:%E3S", absl::Now(), absl::LocalTimeZone()),
                      LastSegment(site.name()), Printable(site.symbol()),
                      Paint(state.text, state.colour, colour), Grouped(traps), Grouped(fast));
  const bool moved = before == nullptr || before->state() != site.state();
  if (moved && !site.state_reason().empty())
    absl::StrAppend(&line, "  (", Printable(site.state_reason()), ")");
  return absl::StrCat(line, "\n");
}

}  // namespace

absl::StatusOr<int> WatchSites(Session& session, const std::string& vm, absl::Duration interval,
                               WatchLook look) {
  v1::WatchSitesRequest request;
  request.set_parent(vm);
  *request.mutable_interval() =
      google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(interval));
  const Output& out = session.output();
  if (out.format() == Format::kYaml || out.format() == Format::kName) {
    return UsageError("--output", "a watch prints table or json");
  }
  const bool redraw = look == WatchLook::kRedraw && isatty(STDOUT_FILENO) == 1;
  SitesByAddress known;
  return ReadStream<v1::WatchSitesResponse>(
      session,
      [&](grpc::ClientContext* context) { return session.sites().WatchSites(context, request); },
      [&](const v1::WatchSitesResponse& response) -> absl::StatusOr<bool> {
        if (!out.people()) {
          const absl::Status status = out.JsonLine(response);
          if (!status.ok()) return status;
          return true;
        }
        std::string lines;
        for (const v1::Site& site : response.sites()) {
          const auto before = known.find(site.gpa());
          absl::StrAppend(&lines, DeltaLine(site, before == known.end() ? nullptr : &before->second,
                                            out.colour()));
          known[site.gpa()] = site;
        }
        const absl::Status status = out.Text(redraw ? Screen(vm, known, out.colour()) : lines);
        if (!status.ok()) return status;
        return true;
      });
}

}  // namespace trapline::cli
