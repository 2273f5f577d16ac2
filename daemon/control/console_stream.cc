// SPDX-License-Identifier: Apache-2.0
// The console stream: a client's keys to the guest, the guest's output to the client.
//
// Input arrives in gRPC's callbacks. Output is pumped by a thread of the stream's own, which waits
// on the console log and for each write to be done; it alone calls Finish, once the VM's life is
// over, the client gone, or the daemon ending.
#include <thread>
#include <utility>

#include "core/base/thread.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/worker_context.h"

namespace trapline::daemon {
namespace {

class ConsoleStream final
    : public grpc::ServerBidiReactor<v1::ConsoleRequest, v1::ConsoleResponse> {
 public:
  explicit ConsoleStream(Registry& registry) : registry_(registry) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!vm_) {
      Begin(ok);
      return;
    }
    if (!ok) return;  // half-closed: output goes on
    SendInput();
    StartRead(&request_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) gone_ = true;
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    gone_ = true;
  }
  void OnDone() override {
    if (pump_.joinable()) pump_.join();
    delete this;
  }

 private:
  static constexpr uint32_t kOver = 1u << v1::Vm::STOPPED | 1u << v1::Vm::FAILED;

  void Begin(bool ok) {
    if (!ok) {
      Finish(InvalidField("name", "the first request must name the VM"));
      return;
    }
    if (auto status = registry_.Find(request_.name(), "name", &vm_); !status.ok()) {
      Finish(status);
      return;
    }
    StartSendInitialMetadata();
    SendInput();
    auto pump = base::StartThread("a console", [this] { Pump(); });
    if (!pump.ok()) {
      Finish(FromCore(pump.status()));
      return;
    }
    pump_ = *std::move(pump);
    StartRead(&request_);
  }

  // What a guest does not take is lost, as on a wire.
  void SendInput() {
    std::shared_ptr<WorkerProcess> worker;
    if (request_.input().empty() || !vm_->Worker(&worker).ok()) return;
    WorkerContext call(kWorkerAnswer);
    worker::v1::WriteConsoleRequest write;
    write.set_bytes(request_.input());
    google::protobuf::Empty nothing;
    worker->stub().WriteConsole(&call, write, &nothing);
  }

  bool Gone() {
    absl::MutexLock lock(&mutex_);
    return gone_;
  }
  void Write() {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = true;
    }
    StartWrite(&response_);
    absl::MutexLock lock(&mutex_);
    auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !writing_; };
    mutex_.Await(absl::Condition(&done));
  }

  void Pump() {
    uint64_t position = 0;
    bool last = false, attached = false;
    for (;;) {
      uint64_t missed = 0;
      response_.set_output(
          vm_->console().Read(&position, last ? absl::ZeroDuration() : kStreamPoll, &missed));
      // What was gone before this client came is nothing it was too slow for.
      response_.set_missed_bytes(std::exchange(attached, true) ? missed : 0);
      registry_.activity().console_bytes_missed += response_.missed_bytes();
      if (Gone()) break;
      if (!response_.output().empty()) {
        Write();
        continue;
      }
      if (last) break;
      if (registry_.shutting_down()) {
        Finish(ShuttingDown());
        return;
      }
      last = vm_->AwaitState(kOver,
                             absl::ZeroDuration());  // one more look for what it said at the end
    }
    Finish(Gone() ? grpc::Status::CANCELLED : grpc::Status::OK);
  }

  Registry& registry_;
  std::shared_ptr<ManagedVm> vm_;
  v1::ConsoleRequest request_;
  v1::ConsoleResponse response_;
  std::thread pump_;
  absl::Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::ConsoleRequest, v1::ConsoleResponse>* VmsService::Console(
    grpc::CallbackServerContext*) {
  return new ConsoleStream(registry_);
}

}  // namespace trapline::daemon
