// SPDX-License-Identifier: Apache-2.0
// What keeps the model up to date.
#include "cli/top/feed.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "cli/names.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli::top {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastRetry = absl::Seconds(2);

// A stream that the other side ended in good order has ended all the same.
absl::Status Ended(Session& session, const grpc::Status& status) {
  return status.ok() ? absl::UnavailableError("the daemon ended the watch")
                     : session.Explain(status);
}

}  // namespace

Feed::Feed(Session& session, SharedModel& model, std::string vm, absl::Duration interval)
    : model_(model), vm_(std::move(vm)), interval_(interval), scope_(session), roster_([this] {
        FollowRoster();
      }) {}

Feed::~Feed() {
  scope_.Cancel();
  roster_.join();
  for (const auto& [id, watcher] : watchers_) watcher->scope.Cancel();
  for (const auto& [id, watcher] : watchers_) watcher->thread.join();
}

absl::Status Feed::status() const {
  const absl::MutexLock lock(&mutex_);
  return status_;
}

bool Feed::WaitForRetry(CallScope& scope, const absl::Status& status, absl::Duration& delay) {
  if (scope.cancelled()) return false;
  if (absl::IsDeadlineExceeded(status)) {
    {
      const absl::MutexLock lock(&mutex_);
      status_ = status;
    }
    model_.Wake();
    return false;
  }
  const bool go_on = scope.Sleep(delay);
  delay = std::min(delay * 2, kLastRetry);
  return go_on;
}

void Feed::FollowRoster() {
  absl::Duration delay = kFirstRetry;
  while (true) {
    const absl::Time began = absl::Now();
    const absl::Status status = ReadRoster();
    if (absl::Now() - began > kLastRetry) delay = kFirstRetry;
    model_.Update([&](Model& model) { model.SetTrouble(OneLine(status)); });
    if (!WaitForRetry(scope_, status, delay)) return;
  }
}

absl::Status Feed::ReadRoster() {
  CallScope::Call call(scope_, Patience::kEndless);
  v1::WatchVmEventsRequest request;
  request.set_name(vm_);
  const auto reader = scope_.session().vms().WatchVmEvents(&call.context(), request);
  reader->WaitForInitialMetadata();
  absl::Status status = vm_.empty() ? ListVms() : AddVm(vm_);
  if (status.ok()) model_.Update([](Model& model) { model.SetTrouble(""); });
  v1::WatchVmEventsResponse response;
  while (status.ok() && reader->Read(&response)) {
    // What was missed may have been a VM's beginning or end.
    if (response.missed() > 0) status = vm_.empty() ? ListVms() : AddVm(vm_);
    if (status.ok() && response.has_event()) status = TakeEvent(response.event());
  }
  if (!status.ok()) call.context().TryCancel();
  const grpc::Status finished = reader->Finish();
  return status.ok() ? Ended(scope_.session(), finished) : status;
}

absl::Status Feed::ListVms() {
  std::vector<v1::Vm> vms;
  v1::ListVmsRequest request;
  request.set_page_size(1000);
  do {
    auto page =
        scope_.Ask(scope_.session().vms(), &v1::Vms::Stub::ListVms, request, Patience::kEndless);
    if (!page.ok()) return page.status();
    for (v1::Vm& vm : *page->mutable_vms()) vms.push_back(std::move(vm));
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  std::set<std::string> there;
  for (const v1::Vm& vm : vms) there.insert(LastSegment(vm.name()));
  std::vector<std::string> gone;
  for (const auto& [id, watcher] : watchers_) {
    if (there.count(id) == 0) gone.push_back(id);
  }
  for (const std::string& id : gone) StopWatcher(id);
  model_.Update([&](Model& model) { model.SetVms(vms); });
  for (const std::string& id : there) StartWatcher(id);
  return absl::OkStatus();
}

absl::Status Feed::AddVm(const std::string& name) {
  v1::GetVmRequest request;
  request.set_name(name);
  const auto vm =
      scope_.Ask(scope_.session().vms(), &v1::Vms::Stub::GetVm, request, Patience::kEndless);
  if (absl::IsNotFound(vm.status())) {  // gone again
    RemoveVm(LastSegment(name));
    return absl::OkStatus();
  }
  if (!vm.ok()) return vm.status();
  model_.Update([&](Model& model) { model.PutVm(*vm); });
  StartWatcher(LastSegment(name));
  return absl::OkStatus();
}

absl::Status Feed::TakeEvent(const v1::VmEvent& event) {
  const std::string id = LastSegment(event.vm());
  // A VM may be announced a moment before it can be asked about: what comes next about it will do.
  const bool known = model_.Read([&](const Model& model) { return model.FindVm(id) != nullptr; });
  const bool gone = event.kind() == v1::VmEvent::DELETED;
  if (event.kind() == v1::VmEvent::CREATED || (!known && !gone)) return AddVm(event.vm());
  if (gone) {
    RemoveVm(id);
  } else {
    model_.Update([&](Model& model) { model.SetVmState(id, event.state(), event.reason()); });
  }
  return absl::OkStatus();
}

void Feed::RemoveVm(const std::string& id) {
  StopWatcher(id);
  model_.Update([&](Model& model) { model.RemoveVm(id); });
}

void Feed::StartWatcher(const std::string& id) {
  std::unique_ptr<Watcher>& watcher = watchers_[id];
  if (watcher != nullptr) return;
  watcher = std::make_unique<Watcher>(scope_.session());
  watcher->thread = std::thread([this, id, &scope = watcher->scope] { Watch(scope, id); });
}

void Feed::StopWatcher(const std::string& id) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  found->second->scope.Cancel();
  found->second->thread.join();
  watchers_.erase(found);
}

void Feed::Watch(CallScope& scope, const std::string& id) {
  absl::Duration delay = kFirstRetry;
  std::string resume_token;
  absl::Status status;
  do {
    const std::string before = resume_token;
    status = ReadSites(scope, id, resume_token);
    if (resume_token != before) delay = kFirstRetry;
    // It is of another life of the VM or the daemon: what is known is void.
    if (absl::IsOutOfRange(status)) resume_token.clear();
    model_.Update([&](Model& model) { model.SetLink(id, Link::kLost, OneLine(status)); });
  } while (WaitForRetry(scope, status, delay));
}

absl::Status Feed::ReadSites(CallScope& scope, const std::string& id, std::string& resume_token) {
  CallScope::Call call(scope, Patience::kEndless);
  v1::WatchSitesRequest request;
  request.set_parent("vms/" + id);
  request.set_resume_token(resume_token);
  *request.mutable_interval() =
      google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(interval_));
  const auto reader = scope.session().sites().WatchSites(&call.context(), request);
  v1::WatchSitesResponse response;
  while (reader->Read(&response)) {
    if (!response.resume_token().empty()) resume_token = response.resume_token();
    model_.Update([&](Model& model) {
      model.SetLink(id, Link::kLive);
      model.Apply(id, response, absl::Now());
    });
  }
  return Ended(scope.session(), reader->Finish());
}

}  // namespace trapline::cli::top
