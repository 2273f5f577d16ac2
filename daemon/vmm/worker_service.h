// SPDX-License-Identifier: Apache-2.0
// The worker's gRPC face over one core/vm VM.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/vm/vm.h"
#include "daemon/vmm/confinement/confinement.h"
#include "daemon/vmm/opened_files.h"
#include "trapline/worker/v1/worker.grpc.pb.h"

namespace trapline::daemon {

// Thread-safe. What happened lately is kept, for a daemon that is to come: the newest kMaxEvents
// events, and at least the newest kConsoleKept bytes of the console.
class WorkerService final : public worker::v1::Worker::Service {
 public:
  static constexpr size_t kMaxEvents = 1024, kConsoleKept = 512 << 10;

  // files: those that the VM is made from. The confinement is sealed when it is.
  WorkerService(Confinement& confinement, OpenedFiles files);

  // Ends all watches; before the server shuts down.
  void Close();

  grpc::Status Create(grpc::ServerContext*, const worker::v1::CreateRequest*,
                      worker::v1::Status*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                         worker::v1::Status*) override;
  grpc::Status Move(grpc::ServerContext*, const worker::v1::MoveRequest*,
                    worker::v1::MoveResponse*) override;
  grpc::Status Watch(grpc::ServerContext*, const worker::v1::WatchRequest*,
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
  // Where a watcher stands: the last event it was sent, and the byte of the console it is due.
  struct Place {
    uint64_t event, console;
  };
  // The VM, or FAILED_PRECONDITION before Create.
  grpc::Status Get(vm::Vm** vm);
  void FillStatus(vm::Vm& vm, worker::v1::Status* status);
  void Keep(v1::VmEvent event);
  void KeepConsole(std::string_view bytes);
  // What there is behind the place, which it moves.
  std::vector<worker::v1::Happening> News(Place* place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t life_;
  Confinement& confinement_;
  absl::Mutex vm_mutex_;
  OpenedFiles files_ ABSL_GUARDED_BY(vm_mutex_);
  std::unique_ptr<vm::Vm> vm_ ABSL_GUARDED_BY(vm_mutex_);  // never replaced once made
  v1::Confinement confined_;                               // never changed once there is a VM

  absl::Mutex mutex_;
  std::deque<v1::VmEvent> events_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_event_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string console_ ABSL_GUARDED_BY(mutex_);
  uint64_t console_end_ ABSL_GUARDED_BY(mutex_) = 0;  // of all bytes ever
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace trapline::daemon
