// SPDX-License-Identifier: Apache-2.0
// WatchVmEvents: events, as many at a time as are sent next; the rest stays in the ring.
#include <deque>

#include "daemon/common/errors.h"
#include "daemon/control/services.h"

namespace trapline::daemon {
namespace {

constexpr size_t kAtOnce = 64;

class VmEventStream final : public PumpedStream<v1::WatchVmEventsResponse> {
 public:
  VmEventStream(Registry& registry, std::shared_ptr<StreamPump> pump,
                const v1::WatchVmEventsRequest& request)
      : PumpedStream(std::move(pump)), registry_(registry), request_(request) {}

 private:
  std::optional<grpc::Status> Open() override {
    std::shared_ptr<ManagedVm> one;
    if (!request_.name().empty()) {
      if (auto status = registry_.Find(request_.name(), "name", &one); !status.ok()) return status;
    }
    place_ = registry_.hub().Last();
    if (!request_.resume_token().empty()) {
      auto resumed = registry_.hub().Place(request_.resume_token());
      if (absl::IsInvalidArgument(resumed.status()))
        return InvalidField("resume_token", std::string(resumed.status().message()));
      if (!resumed.ok())
        return Error(grpc::OUT_OF_RANGE, "TOKEN_EXPIRED", std::string(resumed.status().message()));
      place_ = *resumed;
    }
    if (!request_.initial_state()) return grpc::Status::OK;
    if (one) {
      initial_.push_back(one);
    } else {
      for (const auto& vm : registry_.All()) initial_.push_back(vm);
    }
    return grpc::Status::OK;
  }

  absl::Time Advance(absl::Time) override {
    if (registry_.shutting_down()) return End(ShuttingDown());
    if (!SendInitial()) SendNext();
    return absl::InfiniteFuture();  // woken when it is written, or there is news
  }
  absl::Time Busy(absl::Time) override { return absl::InfiniteFuture(); }

  // Of the next VM that is still there; false: there is none.
  bool SendInitial() {
    while (!initial_.empty()) {
      auto vm = initial_.front().lock();
      initial_.pop_front();
      if (!vm) continue;
      const v1::Vm known = vm->Known();
      response_.Clear();
      auto* event = response_.mutable_event();
      event->set_vm(known.name());
      event->set_kind(v1::VmEvent::INITIAL);
      event->set_state(known.state());
      event->set_reason(known.state_reason());
      response_.set_resume_token(registry_.hub().Token(place_));
      Send();
      return true;
    }
    return false;
  }

  // An event, or a bookmark where there were only others'.
  void SendNext() {
    const uint64_t before = place_;
    if (waiting_.empty()) Collect();
    if (waiting_.empty() && place_ == before) return;
    response_.Clear();
    response_.set_missed(std::exchange(missed_, 0));
    if (waiting_.empty()) {
      response_.set_resume_token(registry_.hub().Token(place_));
    } else {
      response_.set_resume_token(registry_.hub().Token(waiting_.front().sequence()));
      *response_.mutable_event() = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Send();
  }

  void Collect() {
    auto wanted = [this](const v1::VmEvent& event) {
      return request_.name().empty() || event.vm() == request_.name();
    };
    for (v1::VmEvent& event : registry_.hub().Next(&place_, wanted, kAtOnce, &missed_))
      waiting_.push_back(std::move(event));
    registry_.activity().events_missed += missed_;
  }

  Registry& registry_;
  const v1::WatchVmEventsRequest request_;
  // A VM that is deleted meanwhile is not to be kept for a client that does not read.
  std::deque<std::weak_ptr<ManagedVm>> initial_;
  std::deque<v1::VmEvent> waiting_;
  uint64_t place_ = 0, missed_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchVmEventsResponse>* VmsService::WatchVmEvents(
    grpc::CallbackServerContext*, const v1::WatchVmEventsRequest* request) {
  auto* stream = new VmEventStream(registry_, pump_, *request);
  stream->Begin();
  return stream;
}

}  // namespace trapline::daemon
