// SPDX-License-Identifier: Apache-2.0
// The console stream: a client's keys to the guest, the guest's output to the client.
//
// Each direction goes on while the other has to wait. Keys are read from the client once the worker
// has taken those before, so a client is held up by a worker that does not answer, and nobody else.
#include <atomic>
#include <utility>

#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/worker_context.h"

namespace trapline::daemon {
namespace {

constexpr size_t kPerResponse = 64 << 10;

class ConsoleStream final
    : public PumpedStream<v1::ConsoleResponse,
                          grpc::ServerBidiReactor<v1::ConsoleRequest, v1::ConsoleResponse>> {
 public:
  ConsoleStream(Registry& registry, std::shared_ptr<StreamPump> pump)
      : PumpedStream(std::move(pump)), registry_(registry) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    arrived_ = ok ? Arrival::kRequest : Arrival::kEnd;
    if (std::exchange(begun_, true)) {
      pump()->Wake(this);
    } else {
      Begin();
    }
  }

 private:
  enum class Arrival { kNothing, kRequest, kEnd };

  std::optional<grpc::Status> Open() override {
    if (arrived_ == Arrival::kEnd)
      return InvalidField("name", "the first request must name the VM");
    if (auto status = registry_.Find(request_.name(), "name", &vm_); !status.ok()) return status;
    vm_->console().Follow(this, [this] { pump()->Wake(this); });
    return grpc::Status::OK;
  }
  void Close() override {
    if (vm_) vm_->console().Unfollow(this);
  }

  absl::Time Advance(absl::Time) override {
    if (registry_.shutting_down()) return End(ShuttingDown());
    TakeInput();
    // What it said at its end is in the log by the time that the state says so.
    const bool over = Over(vm_->state());
    if (!SendOutput() && over) return End(grpc::Status::OK);
    return absl::InfiniteFuture();  // woken by either side, and by news of any VM
  }
  absl::Time Busy(absl::Time) override {
    TakeInput();
    return absl::InfiniteFuture();
  }

  bool SendOutput() {
    uint64_t missed = 0;
    std::string output = vm_->console().Read(&position_, kPerResponse, &missed);
    // What was gone before this client came is nothing it was too slow for.
    if (!std::exchange(attached_, true)) missed = 0;
    if (output.empty()) return false;
    response_.set_output(std::move(output));
    response_.set_missed_bytes(missed);
    registry_.activity().console_bytes_missed += response_.missed_bytes();
    Send();
    return true;
  }

  void TakeInput() {
    if (passing_ && *passing_) {
      passing_ = nullptr;
      StartRead(&request_);
    }
    if (arrived_ != Arrival::kRequest) return;  // half-closed: output goes on
    arrived_ = Arrival::kNothing;
    if (!PassOn()) StartRead(&request_);
  }

  // What a guest does not take is lost, as on a wire. False: there was nothing, or nobody to take
  // it.
  bool PassOn() {
    struct Keys {
      std::shared_ptr<WorkerProcess> worker;
      WorkerContext context{kWorkerAnswer};
      worker::v1::WriteConsoleRequest write;
      google::protobuf::Empty nothing;
    };
    auto keys = std::make_shared<Keys>();
    if (request_.input().empty() || !vm_->Worker(&keys->worker).ok()) return false;
    keys->write.set_bytes(request_.input());
    passing_ = std::make_shared<std::atomic<bool>>(false);
    keys->worker->stub().async()->WriteConsole(
        &keys->context, &keys->write, &keys->nothing,
        [keys, done = passing_, self = this, pump = pump()](const grpc::Status&) {
          *done = true;
          pump->Wake(self);
        });
    return true;
  }

  Registry& registry_;
  std::shared_ptr<ManagedVm> vm_;
  v1::ConsoleRequest request_;
  std::atomic<Arrival> arrived_{Arrival::kNothing};  // where gRPC has read into request_
  bool begun_ = false;                               // gRPC's threads alone, one after the other
  std::shared_ptr<std::atomic<bool>> passing_;       // keys on their way: whether they are taken
  uint64_t position_ = 0;
  bool attached_ = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::ConsoleRequest, v1::ConsoleResponse>* VmsService::Console(
    grpc::CallbackServerContext*) {
  return new ConsoleStream(registry_, pump_);
}

}  // namespace trapline::daemon
