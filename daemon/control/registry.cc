// SPDX-License-Identifier: Apache-2.0
// The VM registry.
#include "daemon/control/registry.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/common/logging.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace trapline::daemon {
namespace {

constexpr char kPrefix[] = "vms/";
constexpr size_t kMaxId = 63;

// A resource id as AIP-122 has it: a DNS label.
bool IsVmId(std::string_view id) {
  auto letter_or_digit = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !id.empty() && id.size() <= kMaxId && absl::ascii_islower(id.front()) &&
         id.back() != '-' &&
         std::all_of(id.begin(), id.end(), [&](char c) { return letter_or_digit(c) || c == '-'; });
}

grpc::Status NotFound(const std::string& id) {
  return Error(grpc::NOT_FOUND, "VM_NOT_FOUND", absl::StrCat("there is no VM ", id), {{"vm", id}});
}

std::string NewUid() {
  std::string uid;
  std::ifstream("/proc/sys/kernel/random/uuid") >> uid;
  return uid;
}

// The same bytes for the same request: maps have no order of their own.
std::string Canonical(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace

std::shared_ptr<ManagedVm> Registry::NewVm(const v1::Vm& definition) {
  WorkerOptions options = options_.worker;
  options.directory = absl::StrCat(options_.run_directory, "/", definition.name());
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  std::filesystem::permissions(options.directory, std::filesystem::perms::owner_all, error);
  return std::make_shared<ManagedVm>(definition, options, host_probe_, hub_, activity_,
                                     options_.tally.get());
}

absl::Status Registry::Load() {
  auto stored = store_->All();
  if (!stored.ok()) return stored.status();
  for (const v1::Vm& definition : *stored) {
    auto vm = NewVm(definition);
    vm->Adopt();
    absl::MutexLock lock(&mutex_);
    vms_[vm->id()] = vm;
  }
  return absl::OkStatus();
}

grpc::Status Registry::Create(const std::string& id, const v1::Vm& wanted, bool validate_only,
                              std::shared_ptr<ManagedVm>* made) {
  if (!IsVmId(id)) {
    return InvalidField("vm_id",
                        "must be 1 to 63 lower-case letters, digits and dashes, beginning with a "
                        "letter and not ending with a dash");
  }
  const v1::VmSpec& spec = wanted.spec();
  if (spec.kernel_path().empty() || spec.kernel_path()[0] != '/')
    return InvalidField("vm.spec.kernel_path", "must be an absolute path on the daemon's machine");
  if (!spec.initrd_path().empty() && spec.initrd_path()[0] != '/')
    return InvalidField("vm.spec.initrd_path", "must be an absolute path on the daemon's machine");
  if (!spec.symbols_path().empty() && spec.symbols_path()[0] != '/')
    return InvalidField("vm.spec.symbols_path", "must be an absolute path on the daemon's machine");
  {
    absl::MutexLock lock(&mutex_);
    if (vms_.count(id) != 0)
      return Error(grpc::ALREADY_EXISTS, "VM_EXISTS",
                   absl::StrCat("there is a VM ", id, " already"), {{"vm", id}});
    if (vms_.size() >= options_.max_vms) {
      return Error(grpc::RESOURCE_EXHAUSTED, "TOO_MANY_VMS",
                   absl::StrCat("this daemon keeps at most ", options_.max_vms, " VMs"),
                   {{"limit", absl::StrCat(options_.max_vms)}});
    }
    vms_[id] = nullptr;
  }
  v1::Vm definition;
  definition.set_name(kPrefix + id);
  definition.set_uid(NewUid());
  *definition.mutable_create_time() = Now();
  *definition.mutable_labels() = wanted.labels();
  *definition.mutable_spec() = spec;
  if (spec.vcpus() == 0) definition.mutable_spec()->set_vcpus(1);
  if (spec.memory_bytes() == 0) definition.mutable_spec()->set_memory_bytes(uint64_t{256} << 20);
  auto vm = NewVm(definition);
  grpc::Status status = vm->Make();
  if (status.ok() && !validate_only) status = FromCore(store_->Put(definition));
  *made = vm;
  bool kept = status.ok() && !validate_only;
  {
    absl::MutexLock lock(&mutex_);
    if (kept) {
      vms_[id] = vm;
    } else {
      vms_.erase(id);
    }
  }
  // Who hears of it finds it.
  if (kept) vm->Announce();
  return status;
}

grpc::Status Registry::Find(const std::string& name, const std::string& field,
                            std::shared_ptr<ManagedVm>* vm) {
  if (name.compare(0, sizeof kPrefix - 1, kPrefix) != 0 || name.size() == sizeof kPrefix - 1)
    return InvalidField(field, "must be vms/{vm}");
  std::string id = name.substr(sizeof kPrefix - 1);
  absl::MutexLock lock(&mutex_);
  auto entry = vms_.find(id);
  if (entry == vms_.end() || !entry->second) return NotFound(id);
  *vm = entry->second;
  return grpc::Status::OK;
}

grpc::Status Registry::Delete(const std::string& name, bool force, const std::string& etag) {
  std::shared_ptr<ManagedVm> vm;
  if (auto status = Find(name, "name", &vm); !status.ok()) return status;
  v1::Vm snapshot = vm->Known();
  if (!etag.empty() && etag != snapshot.etag()) {
    return Error(grpc::ABORTED, "ETAG_MISMATCH", "the VM has changed since",
                 {{"etag", snapshot.etag()}});
  }
  bool active = snapshot.state() == v1::Vm::RUNNING || snapshot.state() == v1::Vm::PAUSED;
  if (active && !force) {
    std::string current = v1::Vm::State_Name(snapshot.state());
    return Error(grpc::FAILED_PRECONDITION, "VM_WRONG_STATE",
                 absl::StrCat("VM ", vm->id(), " is ", current, "; stop it first, or use force"),
                 {{"current", current}, {"allowed", "CREATED,STOPPED,FAILED"}, {"move", "delete"}});
  }
  if (auto status = store_->Delete(snapshot.name()); !status.ok()) return FromCore(status);
  vm->Retire(false);
  {
    absl::MutexLock lock(&mutex_);
    vms_.erase(vm->id());
  }
  std::error_code error;
  std::filesystem::remove_all(std::filesystem::path(vm->stats_path()).parent_path(), error);
  v1::VmEvent event;
  event.set_vm(snapshot.name());
  event.set_kind(v1::VmEvent::DELETED);
  event.set_state(snapshot.state());
  event.set_reason("deleted");
  hub_.Publish(std::move(event));
  return grpc::Status::OK;
}

std::vector<std::shared_ptr<ManagedVm>> Registry::All() {
  std::vector<std::shared_ptr<ManagedVm>> all;
  absl::MutexLock lock(&mutex_);
  for (auto& [id, vm] : vms_) {
    if (vm) all.push_back(vm);
  }
  return all;
}

void Registry::RetireAll(bool leave) {
  for (auto& vm : All()) vm->Retire(leave);
}

grpc::Status Registry::Once(const std::string& method, const std::string& request_id,
                            const google::protobuf::Message& request,
                            google::protobuf::Message* response,
                            const std::function<grpc::Status()>& body) {
  if (request_id.empty()) return body();
  std::string key = method + "\n" + request_id, asked = Canonical(request);
  {
    absl::MutexLock lock(&answers_mutex_);
    auto free = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(answers_mutex_) {
      return std::find(under_way_.begin(), under_way_.end(), key) == under_way_.end();
    };
    answers_mutex_.Await(absl::Condition(&free));
    for (const Answer& answer : answers_) {
      if (answer.key != key) continue;
      if (answer.request != asked) {
        return InvalidField("request_id", absl::StrCat(request_id, " was used for another ", method,
                                                       "; give each request an id of its own"));
      }
      response->ParseFromString(answer.response);
      return answer.status;
    }
    under_way_.push_back(key);
  }
  grpc::Status status = body();
  absl::MutexLock lock(&answers_mutex_);
  under_way_.erase(std::find(under_way_.begin(), under_way_.end(), key));
  // A failure that a retry may mend is not kept.
  if (status.error_code() != grpc::UNAVAILABLE && status.error_code() != grpc::ABORTED) {
    answers_.push_back({key, asked, response->SerializeAsString(), status});
    if (answers_.size() > kAnswers) answers_.pop_front();
  }
  return status;
}

}  // namespace trapline::daemon
