// SPDX-License-Identifier: Apache-2.0
// StreamHypercalls: reads the rings of the stats file, filters, and sends.
//
// What was read waits here while a write is under way, so that a ring that goes round in some
// milliseconds loses nothing to a client that is slower for a while; what does not fit stays in the
// rings until it is overwritten, and counts as dropped.
#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/trace_batch.h"

namespace trapline::daemon {
namespace {

constexpr size_t kBatch = 4096, kPerResponse = 1 << 14;
// Records of one stream, and of all: many that are slow get less room each.
constexpr size_t kMostWaiting = 1 << 16, kWaitingOfAll = 1 << 20, kLeastWaiting = 512;
constexpr uint32_t kMostOnRecord = 1 << 20;
// Between looks, and between responses that are not full: many records in one message cost less
// than each in its own.
constexpr absl::Duration kIdle = absl::Milliseconds(5);
// Between searches for symbols: of sites not met before, of those that had none. And how long calls
// wait for the former.
constexpr absl::Duration kBetweenNames = absl::Milliseconds(100),
                         kBetweenSearches = absl::Seconds(1), kNamePatience = absl::Seconds(1);
// Counting what was dropped takes time that grows with the sites: at most one part in so many.
constexpr int64_t kCountingShare = 50;

class HypercallStream final : public PumpedStream<v1::StreamHypercallsResponse> {
 public:
  HypercallStream(Registry& registry, std::shared_ptr<StreamPump> pump,
                  std::shared_ptr<std::atomic<size_t>> streams,
                  const v1::StreamHypercallsRequest& request)
      : PumpedStream(std::move(pump)),
        registry_(registry),
        streams_(std::move(streams)),
        request_(request),
        sample_(std::max(request.sample(), 1u)) {}

 private:
  // What the worker said to calls being recorded.
  struct Recording {
    grpc::Status status;
    std::atomic<bool> there{false};
  };

  std::optional<grpc::Status> Open() override {
    if (!recording_) {
      if (auto status = Prepare(); !status.ok()) return status;
    }
    if (!recording_->there) return std::nullopt;
    if (!recording_->status.ok()) return recording_->status;
    for (const hypercall::TraceEvent& event : stats_->OnRecord(request_.last())) Keep(event);
    cursor_ = stats_->End();
    boots_ = stats_->boots();
    held_since_ = absl::Now();
    return grpc::Status::OK;
  }
  void Close() override {
    if (!recording_) return;
    --*streams_;
    vm_->RemoveTracer();
  }

  // Looks at the request, and has the calls recorded.
  grpc::Status Prepare() {
    if (auto status = registry_.Find(request_.parent(), "parent", &vm_); !status.ok())
      return status;
    if (request_.last() > kMostOnRecord)
      return InvalidField("last", absl::StrCat("must be at most ", kMostOnRecord));
    v1::Vm::State state = vm_->state();
    if (Over(state) && !request_.follow() && request_.last() == 0) {
      std::string current = v1::Vm::State_Name(state);
      return Error(
          grpc::FAILED_PRECONDITION, "VM_WRONG_STATE",
          absl::StrCat("VM ", vm_->id(), " is ", current,
                       "; ask for the last calls on record, or follow it"),
          {{"vm", vm_->id()}, {"current", current}, {"allowed", "CREATED,RUNNING,PAUSED"}});
    }
    auto stats = vm_->Stats();
    if (!stats.ok()) return FromCore(stats.status());
    stats_ = *std::move(stats);
    // On before it is noted where the rings stand: what is made in between is nothing that this
    // client was too slow for.
    recording_ = std::make_shared<Recording>();
    ++*streams_;
    vm_->AddTracer(
        [recording = recording_, self = this, pump = pump()](const grpc::Status& status) {
          recording->status = status;
          recording->there = true;
          pump->Wake(self);
        });
    return grpc::Status::OK;
  }

  absl::Time Advance(absl::Time now) override {
    if (registry_.shutting_down()) return End(ShuttingDown());
    // What happened before the end is in the rings by the time that the state says so.
    // A VM that is deleted while it runs stays in that state.
    const bool deleted = !registry_.Has(*vm_), over = deleted || Over(vm_->state());
    bool more = Collect();
    if (!more && TakeUpAnew()) return now;
    if (Held(now)) return now + kIdle;
    if (!more && !over && now < sent_ + kIdle) return sent_ + kIdle;
    bool ending = over && !more && (deleted || !request_.follow());
    CountDropped(now, ending);
    if (!waiting_.empty() || start_due_ || dropped() != told_ || stats_->boots() != boots_) {
      Fill();
      Send();
      sent_ = now;
    } else if (ending) {
      return Finished();
    }
    return more ? now : now + kIdle;
  }

  absl::Time Busy(absl::Time now) override { return Collect() ? now : now + kIdle; }

  // The last response has the counts, even if there was nothing before it.
  absl::Time Finished() {
    if (!std::exchange(final_, true)) {
      Fill();
      Send();
      return absl::InfiniteFuture();
    }
    return End(grpc::Status::OK);
  }

  void Keep(const hypercall::TraceEvent& event) {
    if (!Matches(request_.filter(), event, sites_.Get(*stats_, event.site).gpa)) return;
    if (matched_++ % sample_ == 0) waiting_.push_back(event);
  }

  size_t Room() const { return std::clamp(kWaitingOfAll / *streams_, kLeastWaiting, kMostWaiting); }

  // Reads what the rings have; whether there may be more at once.
  bool Collect() {
    if (waiting_.size() >= Room()) return false;
    const size_t batch = std::min(kBatch, Room());
    std::vector<hypercall::TraceEvent> events = stats_->ReadTrace(&cursor_, batch);
    if (stats_->vcpus() > 1) {
      std::stable_sort(events.begin(), events.end(),
                       [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
    }
    for (const hypercall::TraceEvent& event : events) Keep(event);
    return events.size() == batch;
  }

  // A new worker has made the stats file anew.
  bool TakeUpAnew() {
    if (!request_.follow() || !waiting_.empty()) return false;
    auto stats = vm_->Stats();
    if (!stats.ok() || *stats == stats_) return false;
    CountDropped(absl::InfiniteFuture(), true);
    dropped_before_ += std::exchange(dropped_, 0);
    stats_ = *std::move(stats);
    cursor_ = {};
    start_due_ = true;
    sites_.Clear();
    return true;
  }

  // Whether calls are to wait for the symbols of sites that were not met before. A guest may have
  // none yet, so those that are missing are looked up again from time to time, and nobody waits. A
  // call without its name is better than one that the rings had no room for.
  bool Held(absl::Time now) {
    if (search_ && *search_) {
      search_ = nullptr;
      sites_.Refresh(*stats_);
    }
    absl::Duration pause = sites_.fresh() ? kBetweenNames : kBetweenSearches;
    if (!search_ && sites_.unnamed() && now >= searched_ + pause) {
      searched_ = now;
      search_ = std::make_shared<std::atomic<bool>>(false);
      awaited_ = sites_.TakeFresh();
      vm_->SymbolizeThen([done = search_, self = this, pump = pump()] {
        *done = true;
        pump->Wake(self);
      });
    }
    bool held = sites_.fresh() || (search_ && awaited_);
    if (!held) held_since_ = now;
    return held && now < held_since_ + kNamePatience && waiting_.size() < Room() / 2;
  }

  uint64_t dropped() const { return dropped_before_ + dropped_; }
  void CountDropped(absl::Time now, bool last) {
    if (now < next_count_ && !last) return;
    absl::Time before = absl::Now();
    dropped_ = std::max(dropped_, stats_->Dropped(cursor_));
    absl::Time after = absl::Now();
    next_count_ = after + kCountingShare * (after - before);
  }

  void Fill() {
    response_.Clear();
    uint32_t boots = stats_->boots();
    if (std::exchange(boots_, boots) != boots || std::exchange(start_due_, false))
      *response_.mutable_start_time() = TimestampOf(stats_->start_realtime_ns());
    std::vector<hypercall::TraceEvent> rest;
    if (waiting_.size() > kPerResponse) {
      rest.assign(waiting_.begin() + kPerResponse, waiting_.end());
      waiting_.resize(kPerResponse);
    }
    auto* add = request_.encoding() == v1::TRACE_ENCODING_PACKED ? AddPacked : AddRecords;
    add(vm_->id(), *stats_, waiting_, sites_, &response_);
    registry_.activity().trace_records += waiting_.size();
    registry_.activity().trace_dropped += dropped() - told_;
    waiting_ = std::move(rest);
    response_.set_more(!waiting_.empty());
    told_ = dropped();
    response_.set_dropped(told_);
  }

  Registry& registry_;
  const std::shared_ptr<std::atomic<size_t>> streams_;  // that are open, this one too
  const v1::StreamHypercallsRequest request_;
  const uint32_t sample_;
  std::shared_ptr<ManagedVm> vm_;
  std::shared_ptr<Recording> recording_;  // none: calls are not recorded for this stream
  std::shared_ptr<const hypercall::StatsReader> stats_;
  hypercall::StatsReader::Cursor cursor_;
  uint32_t boots_ = 0;
  TracedSites sites_;
  std::vector<hypercall::TraceEvent> waiting_;
  uint64_t matched_ = 0, dropped_ = 0, dropped_before_ = 0, told_ = 0;
  absl::Time next_count_ = absl::InfinitePast();
  std::shared_ptr<std::atomic<bool>> search_;  // for symbols, under way: whether it is done
  bool awaited_ = false;                       // by calls at sites not met before
  absl::Time searched_ = absl::InfinitePast(), held_since_ = absl::InfinitePast();
  absl::Time sent_ = absl::InfinitePast();  // the last response
  bool start_due_ = true, final_ = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::StreamHypercallsResponse>* TracesService::StreamHypercalls(
    grpc::CallbackServerContext*, const v1::StreamHypercallsRequest* request) {
  auto* stream = new HypercallStream(registry_, pump_, streams_, *request);
  stream->Begin();
  return stream;
}

}  // namespace trapline::daemon
