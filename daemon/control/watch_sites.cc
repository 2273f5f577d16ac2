// SPDX-License-Identifier: Apache-2.0
// WatchSites: a snapshot, then what changed, at times that all watchers of the same interval share.
#include <algorithm>

#include "absl/time/clock.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/site_filter.h"

namespace trapline::daemon {
namespace {

constexpr absl::Duration kMinInterval = absl::Milliseconds(20), kDefaultInterval = absl::Seconds(1),
                         kBetweenSearches = absl::Seconds(1);  // for symbols
constexpr size_t kSitesPerResponse = 500;

class WatchSitesStream final : public PumpedStream<v1::WatchSitesResponse> {
 public:
  WatchSitesStream(Registry& registry, std::shared_ptr<StreamPump> pump,
                   const v1::WatchSitesRequest& request)
      : PumpedStream(std::move(pump)), registry_(registry), request_(request) {}

 private:
  std::optional<grpc::Status> Open() override {
    if (auto status = registry_.Find(request_.parent(), "parent", &vm_); !status.ok())
      return status;
    if (auto status = SiteFilter::Parse(request_.filter(), &filter_); !status.ok()) return status;
    if (request_.has_interval()) {
      interval_ = absl::Seconds(request_.interval().seconds()) +
                  absl::Nanoseconds(request_.interval().nanos());
      if (interval_ < kMinInterval) return InvalidField("interval", "must be at least 20 ms");
    }
    return request_.resume_token().empty() ? grpc::Status::OK : Resume(request_.resume_token());
  }

  grpc::Status Resume(const std::string& token) {
    auto valid = vm_->tracker().Parse(token, &life_, &revision_);
    if (!valid.ok()) return FromCore(valid.status());
    if (!*valid) {
      return Error(grpc::OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED",
                   "the resume token is of another life of the VM's worker; watch without one",
                   {{"vm", vm_->id()}});
    }
    resumed_ = true;
    return grpc::Status::OK;
  }

  absl::Time Advance(absl::Time now) override {
    if (registry_.shutting_down()) return End(ShuttingDown());
    if (!named_) return FindNames();
    if (next_ < changed_.size()) {
      SendPart();
      return due_;
    }
    if (now < due_) return std::min(due_, now + kStreamPoll);
    SetDue(now);
    // Who is due at the same time shares the look.
    auto view = vm_->tracker().Changes(life_, revision_, now);
    if (!view.ok()) return End(FromCore(view.status()));
    Take(*std::move(view));
    SendPart();
    return due_;
  }

  absl::Time Busy(absl::Time now) override {
    if (now >= due_) {
      ++missed_;
      ++registry_.activity().site_updates_missed;
      SetDue(now);
    }
    return due_;
  }

  // Times are multiples of the interval.
  void SetDue(absl::Time now) {
    due_ = absl::UnixEpoch() + absl::Floor(now - absl::UnixEpoch(), interval_) + interval_;
  }

  // The first response has symbols.
  absl::Time FindNames() {
    if (!std::exchange(asked_, true)) {
      searched_ = absl::Now();
      vm_->SymbolizeThen([self = this, pump = pump()] { pump->Wake(self); });
      return absl::InfiniteFuture();
    }
    named_ = true;
    return absl::InfinitePast();
  }
  void FindNewNames() {
    if (absl::Now() - searched_ < kBetweenSearches) return;
    searched_ = absl::Now();
    vm_->SymbolizeThen([] {});
  }

  void Take(SiteTracker::View view) {
    snapshot_ = view.life != life_;
    if (snapshot_) shown_.clear();
    life_ = view.life;
    revision_ = view.revision;
    stats_ = std::move(view.stats);
    sums_ = view.sums;
    changed_ = std::move(view.changed);
    next_ = 0;
  }

  // A site that the filter lets through no longer is sent once more.
  bool Wanted(const hypercall::SiteView& site) {
    if (shown_.size() <= site.index) shown_.resize(site.index + 1, resumed_);
    bool matches = filter_.Matches(site), shown = shown_[site.index];
    shown_[site.index] = matches;
    return matches || shown;
  }

  void SendPart() {
    response_.Clear();
    response_.set_snapshot(std::exchange(snapshot_, false));
    bool unnamed = false;
    while (next_ < changed_.size() &&
           static_cast<size_t>(response_.sites_size()) < kSitesPerResponse) {
      auto site = stats_->Site(changed_[next_++]);
      if (!site.ok() || !Wanted(*site)) continue;
      unnamed = unnamed || site->symbol.empty();
      *response_.add_sites() = ToProto(vm_->id(), *site);
    }
    if (unnamed) FindNewNames();
    *response_.mutable_totals() = ToProto(sums_);
    response_.set_revision(revision_);
    response_.set_missed(std::exchange(missed_, 0));
    response_.set_more(next_ < changed_.size());
    if (!response_.more()) response_.set_resume_token(SiteTracker::Token(life_, revision_));
    Send();
  }

  Registry& registry_;
  const v1::WatchSitesRequest request_;
  std::shared_ptr<ManagedVm> vm_;
  SiteFilter filter_;
  absl::Duration interval_ = kDefaultInterval;
  absl::Time due_ = absl::InfinitePast(), searched_ = absl::InfinitePast();
  bool asked_ = false, named_ = false, resumed_ = false, snapshot_ = false;
  uint64_t life_ = 0, revision_ = 0, missed_ = 0;
  // What is being sent.
  SiteTracker::Stats stats_;
  hypercall::SiteSums sums_;
  std::vector<uint32_t> changed_;
  size_t next_ = 0;
  std::vector<bool> shown_;  // by site: the client has it
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchSitesResponse>* SitesService::WatchSites(
    grpc::CallbackServerContext*, const v1::WatchSitesRequest* request) {
  auto* stream = new WatchSitesStream(registry_, pump_, *request);
  stream->Begin();
  return stream;
}

}  // namespace trapline::daemon
