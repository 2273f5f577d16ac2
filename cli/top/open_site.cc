// SPDX-License-Identifier: Apache-2.0
// Keeps one site's detail up to date while its page is open.
#include "cli/top/open_site.h"

#include <algorithm>
#include <utility>

namespace trapline::cli::top {
namespace {

constexpr size_t kCallsKept = 100;
// Of all the VM's sites; those of this one are fewer.
constexpr uint32_t kCallsOnRecord = 4096;
// What is on record comes at once, in the first response.
constexpr absl::Duration kForRecorded = absl::Seconds(1);
// More than these a second nobody could read; the rest is sampled away by the daemon.
constexpr double kCallsPerSecond = 1000;
constexpr int kTransitionsAtOnce = 1000;

}  // namespace

OpenSite::OpenSite(Session& session, SharedModel& model, SiteKey key, absl::Duration interval)
    : session_(session), model_(model), key_(std::move(key)), interval_(interval), scope_(session) {
  {
    const absl::MutexLock lock(&mutex_);
    detail_.key = key_;
  }
  StartCalls(false);
  record_ = std::thread([this] { KeepRecord(); });
}

OpenSite::~OpenSite() {
  scope_.Cancel();
  calls_scope_->Cancel();
  record_.join();
  calls_.join();
}

SiteDetail OpenSite::detail() const {
  const absl::MutexLock lock(&mutex_);
  return detail_;
}

template <typename Change>
void OpenSite::Update(Change change) {
  {
    const absl::MutexLock lock(&mutex_);
    change(detail_);
  }
  model_.Wake();
}

void OpenSite::KeepRecord() {
  do {
    AskForRecord();
  } while (scope_.Sleep(interval_));
}

void OpenSite::AskForRecord() {
  v1::GetSiteRequest request;
  request.set_name(key_.name());
  const auto site = scope_.Ask(session_.sites(), &v1::Sites::Stub::GetSite, request);
  bool changed = false;
  Update([&](SiteDetail& detail) {
    detail.site_trouble = site.ok() ? "" : OneLine(site.status());
    if (!site.ok()) return;
    changed = !detail.site || detail.site->state() != site->state() ||
              detail.site->current() != site->current() || !detail.code_trouble.empty();
    detail.site = *site;
  });
  if (!changed) return;
  AskForTransitions();
  AskForCode();
}

void OpenSite::AskForTransitions() {
  v1::ListSiteTransitionsRequest request;
  request.set_parent(key_.name());
  request.set_page_size(kTransitionsAtOnce);
  const auto list = scope_.Ask(session_.sites(), &v1::Sites::Stub::ListSiteTransitions, request);
  Update([&](SiteDetail& detail) {
    detail.transitions_trouble = list.ok() ? "" : OneLine(list.status());
    if (!list.ok()) return;
    detail.transitions.assign(list->transitions().begin(), list->transitions().end());
    detail.transitions_lost = list->lost();
  });
}

void OpenSite::AskForCode() {
  v1::DisassembleSiteRequest request;
  request.set_name(key_.name());
  auto code = scope_.Ask(session_.sites(), &v1::Sites::Stub::DisassembleSite, request);
  Update([&](SiteDetail& detail) {
    detail.code_trouble = code.ok() ? "" : OneLine(code.status());
    if (code.ok()) detail.code = *std::move(code);
  });
}

void OpenSite::ToggleTrace() {
  const bool follow = !detail().tracing;
  calls_scope_->Cancel();
  calls_.join();
  if (follow) {
    StartCalls(true);
  } else {
    calls_ = std::thread([] {});
    Update([](SiteDetail& detail) { detail.tracing = false; });
  }
}

void OpenSite::StartCalls(bool follow) {
  calls_scope_ = std::make_unique<CallScope>(session_);
  Update([&](SiteDetail& detail) {
    detail.tracing = follow;
    detail.trace_trouble.clear();
  });
  calls_ = std::thread([this, follow, scope = calls_scope_.get()] { ReadCalls(*scope, follow); });
}

void OpenSite::ReadCalls(CallScope& scope, bool follow) {
  CallScope::Call call(scope, Patience::kEndless);
  if (!follow) call.context().set_deadline(absl::ToChronoTime(absl::Now() + kForRecorded));
  const double rate = model_.Read([&](const Model& model) {
    const TrackedSite* site = model.Find(key_);
    return site == nullptr ? 0 : model.RatesOf(*site).calls;
  });
  v1::StreamHypercallsRequest request;
  request.set_parent("vms/" + key_.vm);
  request.mutable_filter()->add_sites(key_.gpa);
  request.set_follow(follow);
  if (!follow) request.set_last(kCallsOnRecord);
  if (follow)
    request.set_sample(static_cast<uint32_t>(std::clamp(rate / kCallsPerSecond, 1., 1e9)));
  Update([&](SiteDetail& detail) { detail.sample = std::max(1u, request.sample()); });
  const auto reader = session_.traces().StreamHypercalls(&call.context(), request);
  v1::StreamHypercallsResponse response;
  while (reader->Read(&response)) {
    TakeCalls(response);
    if (!follow) call.context().TryCancel();
  }
  const grpc::Status status = reader->Finish();
  Update([&](SiteDetail& detail) {
    if (follow) detail.tracing = false;
    const bool expected = status.ok() || status.error_code() == grpc::StatusCode::CANCELLED ||
                          status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
    if (!expected) detail.trace_trouble = OneLine(session_.Explain(status));
  });
}

void OpenSite::TakeCalls(const v1::StreamHypercallsResponse& response) {
  Update([&](SiteDetail& detail) {
    detail.dropped = response.dropped();
    for (const v1::TraceRecord& record : response.records()) detail.calls.push_back(record);
    while (detail.calls.size() > kCallsKept) detail.calls.pop_front();
  });
}

}  // namespace trapline::cli::top
