// SPDX-License-Identifier: Apache-2.0
// What is done to a site at a key.
#include "cli/top/site_actions.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/names.h"
#include "cli/top/listing.h"
#include "cli/units.h"

namespace trapline::cli::top {

SiteActions::SiteActions(Session& session, SharedModel& model)
    : model_(model), scope_(session), thread_([this] { Run(); }) {}

SiteActions::~SiteActions() {
  scope_.Cancel();
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  thread_.join();
}

void SiteActions::Do(Request request) {
  const absl::MutexLock lock(&mutex_);
  requests_.push_back(std::move(request));
}

std::optional<SiteActions::Answer> SiteActions::TakeAnswer() {
  const absl::MutexLock lock(&mutex_);
  return std::exchange(answer_, std::nullopt);
}

bool SiteActions::Next(Request& request) {
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &SiteActions::HasWork));
  if (ending_) return false;
  request = std::move(requests_.front());
  requests_.pop_front();
  return true;
}

void SiteActions::Run() {
  Request request;
  while (Next(request)) {
    Answer answer = Perform(request);
    {
      const absl::MutexLock lock(&mutex_);
      answer_ = std::move(answer);
    }
    model_.Wake();
  }
}

SiteActions::Answer SiteActions::Perform(const Request& request) {
  const absl::StatusOr<std::string> done =
      request.kind == Request::Kind::kRevert ? Revert(request.site) : SetPolicy(request);
  const std::string site = Hex(request.site.gpa);
  if (!done.ok()) return {absl::StrCat(site, ": ", OneLine(done.status())), true};
  return {absl::StrCat(site, ": ", *done), false};
}

absl::StatusOr<std::string> SiteActions::SetPolicy(const Request& request) {
  v1::SetPolicyRequest set;
  set.set_name(request.site.name());
  if (request.kind == Request::Kind::kPin) set.mutable_policy()->set_limit(v1::TECHNIQUE_EMULATE);
  if (request.kind == Request::Kind::kPatch) {
    set.mutable_policy()->set_limit(v1::TECHNIQUE_LINKED);
    set.mutable_policy()->set_interrupt_after(1);
    set.mutable_policy()->set_linked_after(1);
  }
  const auto policy = scope_.Ask(scope_.session().sites(), &v1::Sites::Stub::SetPolicy, set);
  if (!policy.ok()) return policy.status();
  return absl::StrCat(request.kind == Request::Kind::kInherit ? "as the VM: " : "policy: ",
                      PolicyText(*policy));
}

absl::StatusOr<std::string> SiteActions::Revert(const SiteKey& key) {
  v1::RevertSiteRequest request;
  request.set_name(key.name());
  const auto site = scope_.Ask(scope_.session().sites(), &v1::Sites::Stub::RevertSite, request);
  if (!site.ok()) return site.status();
  return absl::StrCat(StateWord(site->state()), " (", site->state_reason(),
                      "); u lets it be rewritten again");
}

}  // namespace trapline::cli::top
