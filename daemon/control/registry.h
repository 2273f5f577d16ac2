// SPDX-License-Identifier: Apache-2.0
// All VMs by name, and what was answered to requests that may be repeated.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/control/activity.h"
#include "daemon/control/delay_queue.h"
#include "daemon/control/event_hub.h"
#include "daemon/control/host_probe.h"
#include "daemon/control/journal.h"
#include "daemon/control/managed_vm.h"
#include "daemon/control/store.h"
#include "google/protobuf/message.h"

namespace trapline::daemon {

struct RegistryOptions {
  std::string run_directory;
  WorkerOptions worker;  // directory is filled in for each VM
  uint32_t max_vms = 1000;
  std::shared_ptr<CallTally> tally{};  // null: nobody asks what VMs count
};

// kNone: the paths of a VM's images have been looked at, so no link may lead elsewhere since.
enum class ImageLinks { kAny, kNone };

// Thread-safe.
class Registry {
 public:
  Registry(RegistryOptions options, std::unique_ptr<Store> store)
      : options_(std::move(options)), journal_(std::move(store), hub_, later_) {}
  ~Registry() { later_.End(); }

  // Takes up what the store knows, and the workers that still run. Once.
  absl::Status Load();
  // ALREADY_EXISTS, RESOURCE_EXHAUSTED, or what the worker found wrong. A repetition of the request
  // that made the VM finds it. validate_only: the VM is gone again afterwards. until: when the
  // client gives up.
  grpc::Status Create(const v1::CreateVmRequest& request, ImageLinks links,
                      std::shared_ptr<ManagedVm>* made, absl::Time until = absl::InfiniteFuture());
  // NOT_FOUND, or DATA_LOSS where its record is damaged. name is vms/{vm}; INVALID_ARGUMENT naming
  // `field` where it is not of that form.
  grpc::Status Find(const std::string& name, const std::string& field,
                    std::shared_ptr<ManagedVm>* vm);
  // Whether the VM has not been deleted since it was found.
  bool Has(const ManagedVm& vm);
  grpc::Status Delete(const std::string& name, bool force, const std::string& etag);
  // In the order of their names.
  std::vector<std::shared_ptr<ManagedVm>> All();
  // How many more there would be but that their records are damaged.
  size_t damaged();
  void RetireAll(bool leave);

  EventHub& hub() { return hub_; }
  Activity& activity() { return activity_; }
  const HostProbe& host_probe() const { return host_probe_; }
  uint32_t max_vms() const { return options_.max_vms; }

  // Runs body once for each request_id (none: always); a repetition gets the first one's answer.
  // INVALID_ARGUMENT: the id was used for a different request of this method (AIP-155).
  grpc::Status Once(const std::string& method, const std::string& request_id,
                    const google::protobuf::Message& request, google::protobuf::Message* response,
                    const std::function<grpc::Status()>& body);

  // Set once, when the daemon ends: streams end then.
  void BeginShutdown() {
    shutting_down_ = true;
    hub_.Nudge();
  }
  bool shutting_down() const { return shutting_down_; }

 private:
  struct Answer {
    std::string key, request, response;
    grpc::Status status;
  };
  static constexpr size_t kAnswers = 1024;

  std::shared_ptr<ManagedVm> NewVm(record::v1::VmRecord record);
  // Claims the name. *made: the VM that an earlier try of the same request made.
  grpc::Status Reserve(const v1::CreateVmRequest& request, std::shared_ptr<ManagedVm>* made);
  // Erases a damaged record, and ends the worker if there is one.
  grpc::Status GiveUp(const std::string& name);
  // Workers of VMs that the store does not know.
  void EndOrphans();

  const RegistryOptions options_;
  const HostProbe host_probe_;
  EventHub hub_;
  DelayQueue later_;
  Journal journal_;
  Activity activity_;
  std::atomic<bool> shutting_down_{false};
  absl::Mutex mutex_;
  // Null while a VM of that name is being made.
  std::map<std::string, std::shared_ptr<ManagedVm>> vms_ ABSL_GUARDED_BY(mutex_);
  // VMs whose records cannot be read: their names are taken.
  std::set<std::string> damaged_ ABSL_GUARDED_BY(mutex_);
  absl::Mutex answers_mutex_;
  std::deque<Answer> answers_ ABSL_GUARDED_BY(answers_mutex_);
  std::vector<std::string> under_way_ ABSL_GUARDED_BY(answers_mutex_);
};

}  // namespace trapline::daemon
