// SPDX-License-Identifier: Apache-2.0
// Any client: the input is a list of calls of the public API's methods, with messages made from
// their descriptors, to a daemon in this process that keeps real workers. It has to answer each
// in time, and to be there for the next.
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/common/logging.h"
#include "daemon/control/registry.h"
#include "daemon/control/server.h"
#include "daemon/control/store.h"
#include "google/protobuf/dynamic_message.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "tests/fuzz/message_maker.h"

namespace {

using namespace trapline;
using namespace trapline::daemon;
using google::protobuf::MethodDescriptor;

constexpr int kMostCalls = 8, kMostResponses = 3;
// How long streams are listened to, and what else lasts as long as the client says; and what
// others may take, more than any of them needs.
constexpr auto kListening = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::milliseconds(20000);

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}

std::vector<const MethodDescriptor*> Methods() {
  std::vector<const MethodDescriptor*> methods;
  for (const auto* file :
       {v1::Vm::descriptor()->file(), v1::Site::descriptor()->file(),
        v1::TraceRecord::descriptor()->file(), v1::HostInfo::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        methods.push_back(file->service(s)->method(m));
    }
  }
  return methods;
}

// One for all inputs, as setting up takes longer than a call.
class Daemon {
 public:
  Daemon() {
    signal(SIGPIPE, SIG_IGN);
    // What is made first goes last: VMs log until they have ended.
    Log(spdlog::level::info, "begins");
    char name[] = "/tmp/trapline-rpc-fuzz-XXXXXX";
    directory_ = mkdtemp(name);
    mkfifo((directory_ + "/fifo").c_str(), 0600);
    auto store = Store::Open(directory_ + "/vms.sqlite");
    if (!store.ok()) Die(store.status().ToString());
    std::vector<std::string> worker = {TRAPLINE_VMM, "--log-level", "error"};
    WorkerOptions workers{
        .words = worker, .directory = "", .zygote = std::make_shared<Zygote>(worker)};
    registry_ = std::make_unique<Registry>(
        RegistryOptions{.run_directory = directory_, .worker = workers, .max_vms = 8},
        *std::move(store));
    const AccessConfig access;
    auto audit = AuditLog::Open(access.audit);
    if (!audit.ok()) Die(audit.status().ToString());
    audit_ = *std::move(audit);
    auto server = Server::Start({.unix_socket = directory_ + "/d.sock",
                                 .inherited = {},
                                 .tcp = "",
                                 .authorizer = std::make_shared<Authorizer>(access),
                                 .audit = audit_.get()},
                                *registry_);
    if (!server.ok()) Die(server.status().ToString());
    server_ = *std::move(server);
    channel_ =
        grpc::CreateChannel("unix:" + directory_ + "/d.sock", grpc::InsecureChannelCredentials());
    const std::string guests = TRAPLINE_GUESTS_DIR;
    words_ = {"vms/a",
              "vms/b",
              "vms/-",
              "vms/",
              "a",
              "b",
              "c",
              "hello",
              "",
              "vms/a/sites/0x100000",
              "vms/a/sites/",
              "vms/-/sites/-",
              "state=RUNNING",
              "labels.x=y",
              "state=LINKED AND calls>1",
              "symbol:main",
              "*",
              "console=no",
              guests + "/hello.elf",
              guests + "/idle.elf",
              guests,
              directory_ + "/fifo",
              directory_ + "/vms.sqlite",
              "/dev/zero",
              "/proc/self/mem",
              "/",
              "calls=100000"};
  }
  ~Daemon() {
    server_->Stop();
    registry_->RetireAll(false);
    std::filesystem::remove_all(directory_);
  }

  void Call(Input& input) {
    static const std::vector<const MethodDescriptor*>& methods = *new auto(Methods());
    const MethodDescriptor& method =
        *input.OneOf(std::span<const MethodDescriptor* const>(methods));
    std::unique_ptr<google::protobuf::Message> request(
        google::protobuf::MessageFactory::generated_factory()
            ->GetPrototype(method.input_type())
            ->New());
    FillMessage(input, words_, request.get());
    Send(method, *request);
  }
  // What most calls are for.
  void KeepVms() {
    for (const char* id : {"a", "b"}) {
      std::shared_ptr<ManagedVm> vm;
      if (registry_->Find(std::string("vms/") + id, "name", &vm).ok()) continue;
      v1::CreateVmRequest wanted;
      wanted.set_vm_id(id);
      v1::VmSpec& spec = *wanted.mutable_vm()->mutable_spec();
      spec.set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) + "/hello.elf");
      spec.set_command_line("calls=1000000");
      spec.set_memory_bytes(16 << 20);
      auto status = registry_->Create(wanted, ImageLinks::kAny, &vm);
      if (!status.ok() && status.error_code() != grpc::RESOURCE_EXHAUSTED)
        Die("cannot make a VM: " + status.error_message());
    }
  }

 private:
  void Send(const MethodDescriptor& method, const google::protobuf::Message& request) {
    grpc::ByteBuffer out;
    bool own = false;
    grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(request, &out, &own);
    bool lasts =
        method.server_streaming() || method.name() == "WaitVm" || method.name() == "StopVm";
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + (lasts ? kListening : kPatience));
    grpc::CompletionQueue queue;
    auto call = grpc::GenericStub(channel_).PrepareCall(
        &context, "/" + method.service()->full_name() + "/" + method.name(), &queue);
    call->StartCall(nullptr);
    Await(queue);
    call->WriteLast(out, {}, nullptr);
    Await(queue);
    grpc::ByteBuffer in;
    for (int i = 0; i < kMostResponses; ++i) {
      call->Read(&in, nullptr);
      if (!Await(queue)) break;
    }
    if (lasts) context.TryCancel();
    grpc::Status status;
    call->Finish(&status, nullptr);
    Await(queue);
    if (!lasts && status.error_code() == grpc::DEADLINE_EXCEEDED)
      Die("no answer: " + method.full_name() + "\n" + request.DebugString());
    if (status.error_code() == grpc::UNKNOWN || status.error_code() == grpc::INTERNAL)
      Die(method.full_name() + ": " + status.error_message() + "\n" + request.DebugString());
  }
  static bool Await(grpc::CompletionQueue& queue) {
    void* tag;
    bool ok = false;
    if (!queue.Next(&tag, &ok)) Die("the queue has ended");
    return ok;
  }

  std::string directory_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::vector<std::string> words_;
};

}  // namespace

// libFuzzer looks for leaks between inputs, while gRPC begins and ends threads: what it has of one
// is known to nobody but that thread for a moment.
// NOLINTNEXTLINE(readability-identifier-naming): the sanitizer's name for it.
extern "C" const char* __lsan_default_suppressions() { return "leak:grpc::ThreadManager"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Daemon daemon;
  daemon.KeepVms();
  Input input{data, size};
  for (int i = 0; i < kMostCalls && input.left > 0; ++i) daemon.Call(input);
  return 0;
}
