// SPDX-License-Identifier: Apache-2.0
// The VM registry.
#include "daemon/control/registry.h"

#include <limits.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/common/logging.h"
#include "daemon/control/restart_plan.h"
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

grpc::Status Damaged(grpc::StatusCode code, const std::string& id) {
  return Error(code, "VM_RECORD_DAMAGED",
               absl::StrCat("what the state directory has of VM ", id,
                            " is damaged, and kept as it is: have its database from a backup, or "
                            "delete the VM by force to give it up"),
               {{"vm", id}});
}

grpc::Status CheckPaths(const v1::VmSpec& spec) {
  const struct {
    const char* field;
    const std::string& path;
    bool needed;
  } paths[] = {{"vm.spec.kernel_path", spec.kernel_path(), true},
               {"vm.spec.initrd_path", spec.initrd_path(), false},
               {"vm.spec.symbols_path", spec.symbols_path(), false}};
  for (const auto& [field, path, needed] : paths) {
    if (path.empty() && !needed) continue;
    if (path.empty() || path[0] != '/')
      return InvalidField(field, "must be an absolute path on the daemon's machine");
    if (path.size() >= PATH_MAX || path.find('\0') != std::string::npos)
      return InvalidField(field, absl::StrCat("no path has more than ", PATH_MAX - 1,
                                              " bytes, or zero bytes in it"));
  }
  return grpc::Status::OK;
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

grpc::Status CheckRequest(const v1::CreateVmRequest& request) {
  if (!IsVmId(request.vm_id())) {
    return InvalidField("vm_id",
                        "must be 1 to 63 lower-case letters, digits and dashes, beginning with a "
                        "letter and not ending with a dash");
  }
  const v1::VmSpec& spec = request.vm().spec();
  if (auto status = CheckPaths(spec); !status.ok()) return status;
  if (auto fault = CheckRestart(spec.restart()))
    return InvalidField("vm.spec.restart." + fault->field, fault->description);
  return grpc::Status::OK;
}

// The VM as it was asked for, with what was left to the daemon.
record::v1::VmRecord RecordOf(const v1::CreateVmRequest& request, ImageLinks links) {
  record::v1::VmRecord record;
  record.set_images_without_links(links == ImageLinks::kNone);
  if (!request.request_id().empty()) {
    record.set_request_id(request.request_id());
    record.set_request(Canonical(request));
  }
  v1::Vm& vm = *record.mutable_vm();
  vm.set_name(kPrefix + request.vm_id());
  vm.set_uid(NewUid());
  *vm.mutable_create_time() = Now();
  *vm.mutable_labels() = request.vm().labels();
  v1::VmSpec& spec = *vm.mutable_spec();
  spec = request.vm().spec();
  if (spec.vcpus() == 0) spec.set_vcpus(1);
  if (spec.memory_bytes() == 0) spec.set_memory_bytes(uint64_t{256} << 20);
  return record;
}

// A file beside a VM's others: it was being deleted.
std::string CondemnedPath(const std::filesystem::path& stats) {
  return stats.parent_path() / "condemned";
}

}  // namespace

std::shared_ptr<ManagedVm> Registry::NewVm(record::v1::VmRecord record) {
  WorkerOptions options = options_.worker;
  options.directory = absl::StrCat(options_.run_directory, "/", record.vm().name());
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  std::filesystem::permissions(options.directory, std::filesystem::perms::owner_all, error);
  return std::make_shared<ManagedVm>(
      std::move(record), options,
      VmSurroundings{host_probe_, journal_, later_, activity_, options_.tally.get()});
}

absl::Status Registry::Load() {
  if (auto started = later_.Start(); !started.ok()) return started;
  auto stored = journal_.Load();
  if (!stored.ok()) return stored.status();
  for (std::string& name : stored->unreadable) {
    absl::MutexLock lock(&mutex_);
    damaged_.insert(name.substr(std::min(name.size(), sizeof kPrefix - 1)));
  }
  for (record::v1::VmRecord& record : stored->records) {
    auto vm = NewVm(std::move(record));
    std::error_code error;
    std::filesystem::remove(CondemnedPath(vm->stats_path()), error);
    vm->Adopt();
    absl::MutexLock lock(&mutex_);
    vms_[vm->id()] = vm;
  }
  for (auto& vm : All()) vm->AwaitAdoption();
  EndOrphans();
  return absl::OkStatus();
}

// A daemon that was killed may have made a worker whose VM it had not told anybody of, or deleted a
// VM whose worker it had not ended. Any other belongs to somebody else's state directory.
void Registry::EndOrphans() {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat(options_.run_directory, "/vms"), error)) {
    {
      absl::MutexLock lock(&mutex_);
      const std::string id = entry.path().filename();
      if (vms_.count(id) != 0 || damaged_.count(id) != 0) continue;
    }
    std::optional<worker::v1::Status> status;
    auto worker = WorkerProcess::Adopt(entry.path(), &status);
    const bool condemned = std::filesystem::exists(CondemnedPath(StatsPath(entry.path())), error);
    const bool blank = status && (status->state() == v1::Vm::STATE_UNSPECIFIED ||
                                  status->state() == v1::Vm::CREATED);
    if (worker.ok() && !condemned && !blank) {
      Log(spdlog::level::warn,
          "a worker of an unknown VM was left alone; is this the right --state-dir?",
          {{"directory", entry.path()}, {"pid", absl::StrCat((*worker)->pid())}});
      (*worker)->Leave();
      continue;
    }
    worker = absl::CancelledError();  // which ends it
    std::filesystem::remove_all(entry.path(), error);
  }
}

grpc::Status Registry::Reserve(const v1::CreateVmRequest& request,
                               std::shared_ptr<ManagedVm>* made) {
  const std::string& id = request.vm_id();
  absl::MutexLock lock(&mutex_);
  if (auto there = vms_.find(id); there != vms_.end()) {
    if (there->second && !request.request_id().empty()) {
      auto [request_id, asked] = there->second->Request();
      if (request_id == request.request_id() && asked == Canonical(request)) {
        *made = there->second;
        return grpc::Status::OK;
      }
    }
    return Error(grpc::ALREADY_EXISTS, "VM_EXISTS", absl::StrCat("there is a VM ", id, " already"),
                 {{"vm", id}});
  }
  if (damaged_.count(id) != 0) return Damaged(grpc::ALREADY_EXISTS, id);
  if (vms_.size() >= options_.max_vms) {
    return Error(grpc::RESOURCE_EXHAUSTED, "TOO_MANY_VMS",
                 absl::StrCat("this daemon keeps at most ", options_.max_vms, " VMs"),
                 {{"limit", absl::StrCat(options_.max_vms)}});
  }
  vms_[id] = nullptr;
  return grpc::Status::OK;
}

grpc::Status Registry::Create(const v1::CreateVmRequest& request, ImageLinks links,
                              std::shared_ptr<ManagedVm>* made, absl::Time until) {
  if (auto status = CheckRequest(request); !status.ok()) return status;
  const std::string& id = request.vm_id();
  if (auto status = Reserve(request, made); !status.ok() || *made) return status;
  auto vm = NewVm(RecordOf(request, links));
  auto keep = [&] {
    absl::MutexLock lock(&mutex_);
    vms_[id] = vm;
  };
  grpc::Status status = vm->Make(until);
  // Who hears of it finds it.
  if (status.ok() && !request.validate_only()) status = vm->Keep(keep);
  if (!status.ok() || request.validate_only()) {
    absl::MutexLock lock(&mutex_);
    vms_.erase(id);
  }
  if (status.ok()) *made = vm;
  return status;
}

grpc::Status Registry::Find(const std::string& name, const std::string& field,
                            std::shared_ptr<ManagedVm>* vm) {
  if (name.compare(0, sizeof kPrefix - 1, kPrefix) != 0 || name.size() == sizeof kPrefix - 1)
    return InvalidField(field, "must be vms/{vm}");
  std::string id = name.substr(sizeof kPrefix - 1);
  absl::MutexLock lock(&mutex_);
  if (damaged_.count(id) != 0) return Damaged(grpc::DATA_LOSS, id);
  auto entry = vms_.find(id);
  if (entry == vms_.end() || !entry->second) return NotFound(id);
  *vm = entry->second;
  return grpc::Status::OK;
}

bool Registry::Has(const ManagedVm& vm) {
  absl::MutexLock lock(&mutex_);
  const auto entry = vms_.find(vm.id());
  return entry != vms_.end() && entry->second.get() == &vm;
}

grpc::Status Registry::GiveUp(const std::string& name) {
  StoreChange change;
  change.erase.push_back(name);
  if (auto status = journal_.Commit(std::move(change)); !status.ok()) return FromCore(status);
  // A worker that an earlier daemon left ends with the object.
  const std::string directory = absl::StrCat(options_.run_directory, "/", name);
  std::optional<worker::v1::Status> unused;
  WorkerProcess::Adopt(directory, &unused).IgnoreError();
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  absl::MutexLock lock(&mutex_);
  damaged_.erase(name.substr(sizeof kPrefix - 1));
  return grpc::Status::OK;
}

size_t Registry::damaged() {
  absl::MutexLock lock(&mutex_);
  return damaged_.size();
}

grpc::Status Registry::Delete(const std::string& name, bool force, const std::string& etag) {
  std::shared_ptr<ManagedVm> vm;
  if (auto status = Find(name, "name", &vm); !status.ok()) {
    const bool damaged = status.error_code() == grpc::DATA_LOSS;
    return damaged && force && etag.empty() ? GiveUp(name) : status;
  }
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
  // For a daemon that finds the worker but no VM, where this one does not get that far.
  const std::string condemned = CondemnedPath(vm->stats_path());
  std::ofstream(condemned).flush();
  if (auto status = vm->Forget(); !status.ok()) {
    std::error_code error;
    std::filesystem::remove(condemned, error);
    return status;
  }
  vm->Retire(false);
  // Before another VM of that name may put files there.
  std::error_code error;
  std::filesystem::remove_all(std::filesystem::path(vm->stats_path()).parent_path(), error);
  {
    absl::MutexLock lock(&mutex_);
    vms_.erase(vm->id());
  }
  StoreChange change;
  v1::VmEvent& event = change.events.emplace_back();
  event.set_vm(snapshot.name());
  event.set_kind(v1::VmEvent::DELETED);
  event.set_state(snapshot.state());
  event.set_reason("deleted");
  journal_.Note(std::move(change));
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
  later_.End();
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
  if (status.error_code() != grpc::UNAVAILABLE && status.error_code() != grpc::ABORTED &&
      status.error_code() != grpc::DEADLINE_EXCEEDED) {
    answers_.push_back({key, asked, response->SerializeAsString(), status});
    if (answers_.size() > kAnswers) answers_.pop_front();
  }
  return status;
}

}  // namespace trapline::daemon
