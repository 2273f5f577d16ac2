// SPDX-License-Identifier: Apache-2.0
// A VM's ledger over the API, page by page.
#include "cli/ledger_calls.h"

#include <optional>

#include "absl/time/clock.h"
#include "cli/vm_calls.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

constexpr int32_t kPage = 1000;  // the most that the API gives

}  // namespace

absl::Status EachSite(Session& session, const std::string& vm, const std::string& filter,
                      const std::function<absl::Status(const v1::Site&)>& take) {
  v1::ListSitesRequest request;
  request.set_parent(vm);
  request.set_page_size(kPage);
  request.set_filter(filter);
  std::optional<uint64_t> last;
  do {
    const auto page = session.Call(session.sites(), &v1::Sites::Stub::ListSites, request);
    if (!page.ok()) return page.status();
    for (const v1::Site& site : page->sites()) {
      // A site found meanwhile moves those behind it into the next page.
      if (last && site.gpa() <= *last) continue;
      last = site.gpa();
      if (const absl::Status taken = take(site); !taken.ok()) return taken;
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<v1::ListSitesResponse> ListSites(Session& session, const std::string& vm,
                                                const std::string& filter) {
  v1::ListSitesResponse all;
  const absl::Status status = EachSite(session, vm, filter, [&all](const v1::Site& site) {
    *all.add_sites() = site;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return all;
}

absl::StatusOr<uint64_t> EachTransition(
    Session& session, const std::string& parent,
    const std::function<absl::Status(const v1::SiteTransition&)>& take) {
  v1::ListSiteTransitionsRequest request;
  request.set_parent(parent);
  request.set_page_size(kPage);
  uint64_t lost = 0;
  do {
    const auto page = session.Call(session.sites(), &v1::Sites::Stub::ListSiteTransitions, request);
    if (!page.ok()) return page.status();
    lost = page->lost();
    for (const v1::SiteTransition& transition : page->transitions()) {
      if (const absl::Status taken = take(transition); !taken.ok()) return taken;
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return lost;
}

absl::StatusOr<v1::ListSiteTransitionsResponse> ListTransitions(Session& session,
                                                                const std::string& parent,
                                                                uint64_t last) {
  v1::ListSiteTransitionsResponse all;
  auto& list = *all.mutable_transitions();
  const auto keep = [&](uint64_t most) {
    if (most != 0 && static_cast<uint64_t>(list.size()) > most)
      list.DeleteSubrange(0, list.size() - static_cast<int>(most));
  };
  const absl::StatusOr<uint64_t> lost =
      EachTransition(session, parent, [&](const v1::SiteTransition& transition) {
        *list.Add() = transition;
        // Trimmed by halves, so that each is moved once on the average.
        if (last != 0 && static_cast<uint64_t>(list.size()) / 2 > last) keep(last);
        return absl::OkStatus();
      });
  if (!lost.ok()) return lost.status();
  keep(last);
  all.set_lost(*lost);
  return all;
}

absl::StatusOr<v1::SiteLedger> LedgerHead(Session& session, const std::string& vm) {
  v1::SiteLedger head;
  absl::StatusOr<v1::Vm> known = GetVm(session, vm);
  if (!known.ok()) return known.status();
  *head.mutable_vm() = *std::move(known);
  const auto host =
      session.Call(session.host(), &v1::Host::Stub::GetHostInfo, v1::GetHostInfoRequest());
  if (!host.ok()) return host.status();
  head.set_version(host->version());
  v1::GetSiteTotalsRequest request;
  request.set_parent(vm);
  auto totals = session.Call(session.sites(), &v1::Sites::Stub::GetSiteTotals, request);
  if (!totals.ok()) return totals.status();
  *head.mutable_totals() = *std::move(totals);
  *head.mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(absl::Now()));
  return head;
}

absl::StatusOr<v1::SiteLedger> GetLedger(Session& session, const std::string& vm) {
  absl::StatusOr<v1::SiteLedger> ledger = LedgerHead(session, vm);
  if (!ledger.ok()) return ledger;
  const absl::Status status = EachSite(session, vm, "", [&ledger](const v1::Site& site) {
    *ledger->add_sites() = site;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  const auto lost = EachTransition(session, vm, [&ledger](const v1::SiteTransition& transition) {
    *ledger->add_transitions() = transition;
    return absl::OkStatus();
  });
  if (!lost.ok()) return lost.status();
  ledger->set_lost(*lost);
  return ledger;
}

}  // namespace trapline::cli
