// SPDX-License-Identifier: Apache-2.0
// The worker's gRPC face over one core/vm VM.
#pragma once

#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/vm/vm.h"
#include "trapline/worker/v1/worker.grpc.pb.h"

namespace trapline::daemon {

// Thread-safe. What happens while nobody watches is kept for the next watcher, console output up to
// kMaxBacklog bytes of it.
class WorkerService final : public worker::v1::Worker::Service {
 public:
  static constexpr size_t kMaxBacklog = 1 << 20;

  // Ends all watches; before the server shuts down.
  void Close();

  grpc::Status Create(grpc::ServerContext*, const worker::v1::CreateRequest*,
                      worker::v1::Status*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                         worker::v1::Status*) override;
  grpc::Status Move(grpc::ServerContext*, const worker::v1::MoveRequest*,
                    worker::v1::MoveResponse*) override;
  grpc::Status Watch(grpc::ServerContext*, const google::protobuf::Empty*,
                     grpc::ServerWriter<worker::v1::Happening>*) override;
  grpc::Status WriteConsole(grpc::ServerContext*, const worker::v1::WriteConsoleRequest*,
                            google::protobuf::Empty*) override;
  grpc::Status ReadRegisters(grpc::ServerContext*, const v1::ReadRegistersRequest*,
                             v1::Registers*) override;
  grpc::Status ReadMemory(grpc::ServerContext*, const v1::ReadMemoryRequest*,
                          v1::ReadMemoryResponse*) override;
  grpc::Status Disassemble(grpc::ServerContext*, const v1::DisassembleRequest*,
                           v1::DisassembleResponse*) override;
  grpc::Status DisassembleSite(grpc::ServerContext*, const worker::v1::DisassembleSiteRequest*,
                               v1::SiteCode*) override;
  grpc::Status Symbolize(grpc::ServerContext*, const google::protobuf::Empty*,
                         google::protobuf::Empty*) override;
  grpc::Status GetPolicy(grpc::ServerContext*, const google::protobuf::Empty*,
                         v1::Policy*) override;
  grpc::Status SetPolicy(grpc::ServerContext*, const worker::v1::SetPolicyRequest*,
                         google::protobuf::Empty*) override;
  grpc::Status Revert(grpc::ServerContext*, const worker::v1::SiteRequest*,
                      google::protobuf::Empty*) override;
  grpc::Status ResetCounters(grpc::ServerContext*, const worker::v1::SiteRequest*,
                             google::protobuf::Empty*) override;
  grpc::Status SetTracing(grpc::ServerContext*, const worker::v1::SetTracingRequest*,
                          google::protobuf::Empty*) override;

 private:
  // The VM, or FAILED_PRECONDITION before Create.
  grpc::Status Get(vm::Vm** vm);
  void FillStatus(vm::Vm& vm, worker::v1::Status* status);
  void Push(worker::v1::Happening happening);
  void PushConsole(std::string_view bytes);

  absl::Mutex vm_mutex_;
  std::unique_ptr<vm::Vm> vm_ ABSL_GUARDED_BY(vm_mutex_);  // never replaced once made

  absl::Mutex mutex_;
  std::deque<worker::v1::Happening> backlog_ ABSL_GUARDED_BY(mutex_);
  size_t console_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace trapline::daemon
