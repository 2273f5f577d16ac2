// SPDX-License-Identifier: Apache-2.0
// Who may do what over the Unix socket of a real daemon. The clients are other users, which takes
// root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/access/public_services.h"
#include "daemon/access/roles.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/api/daemon_process.h"
#include "tests/api/peer.h"
#include "tests/api/raw_call.h"
#include "tests/common/error_info.h"
#include "tests/common/scratch.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

const User kRoot{0, 0}, kViewer{54001, 54001}, kOperator{54002, 54002}, kAdmin{54003, 54003},
    kStranger{54004, 54004};

constexpr char kRoles[] = R"(
[socket]
mode = "0666"
[access.viewer]
users = [54001]
groups = [54101]
[access.operator]
users = [54002]
groups = [54102]
[access.admin]
users = [54003]
)";

class Access : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "takes root, to be other users";
    // Whether they may connect is for the socket to say.
    chmod(directory_.c_str(), 0711);
  }

  void Start(const std::string& config) {
    std::ofstream(directory_ + "/t.toml")
        << config << "\n[audit]\nfile = \"" << directory_ << "/audit.log\"\n";
    daemon_ = std::make_unique<DaemonProcess>(
        directory_, std::vector<std::string>{"--config", directory_ + "/t.toml"});
    daemon_->KeepDirectory();
  }
  std::string socket() const { return directory_ + "/d.sock"; }
  std::shared_ptr<grpc::Channel> As(const User& user) {
    channels_.push_back(ChannelAs(user, socket()));
    return channels_.back();
  }

  grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::ListVmsResponse response;
    return v1::Vms::NewStub(channel)->ListVms(&context, {}, &response);
  }
  grpc::Status Stop(const std::shared_ptr<grpc::Channel>& channel, const std::string& vm) {
    grpc::ClientContext context;
    v1::StopVmRequest request;
    request.set_name("vms/" + vm);
    v1::StopVmResponse response;
    return v1::Vms::NewStub(channel)->StopVm(&context, request, &response);
  }
  grpc::Status Create(const std::shared_ptr<grpc::Channel>& channel, const std::string& kernel,
                      v1::Vm* vm) {
    grpc::ClientContext context;
    v1::CreateVmRequest request;
    request.set_vm_id("a");
    request.mutable_vm()->mutable_spec()->set_kernel_path(kernel);
    request.mutable_vm()->mutable_spec()->set_memory_bytes(16 << 20);
    return v1::Vms::NewStub(channel)->CreateVm(&context, request, vm);
  }

  // The audit log, a line a map.
  std::vector<std::map<std::string, std::string>> Audited() const {
    std::vector<std::map<std::string, std::string>> lines;
    std::ifstream file(directory_ + "/audit.log");
    for (std::string line; std::getline(file, line);) {
      google::protobuf::Struct fields;
      EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(line, &fields).ok()) << line;
      auto& added = lines.emplace_back();
      for (const auto& [key, value] : fields.fields()) added[key] = value.string_value();
    }
    return lines;
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  std::unique_ptr<DaemonProcess> daemon_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
};

TEST_F(Access, AViewerIsToldWhichRoleItLacks) {
  Start(kRoles);
  auto viewer = As(kViewer);
  EXPECT_TRUE(List(viewer).ok());
  const grpc::Status denied = Stop(viewer, "a");
  EXPECT_EQ(denied.error_code(), grpc::PERMISSION_DENIED);
  EXPECT_EQ(denied.error_message(),
            "trapline.v1.Vms/StopVm needs the role operator; user 54001 has viewer");
  EXPECT_EQ(InfoOf(denied).reason(), "ROLE_REQUIRED");
  EXPECT_EQ(InfoOf(denied).metadata().at("required_role"), "operator");
  // Permission comes before existence: there is no such VM.
  EXPECT_EQ(Stop(As(kOperator), "a").error_code(), grpc::NOT_FOUND);
}

TEST_F(Access, EveryMethodIsOpenToItsRolesAlone) {
  Start(kRoles);
  const std::pair<User, v1::Role> callers[] = {
      {kViewer, v1::ROLE_VIEWER}, {kOperator, v1::ROLE_OPERATOR}, {kAdmin, v1::ROLE_ADMIN}};
  for (const auto& [user, role] : callers) {
    auto channel = As(user);
    for (const auto* service : PublicServices()) {
      for (int i = 0; i < service->method_count(); ++i) {
        const auto& method = *service->method(i);
        const std::string path = "/" + service->full_name() + "/" + method.name();
        // The first field of a request is its name, or nothing that text fits.
        const grpc::Status status = RawCall(channel, path, "\x0a\x08vms/none");
        const bool denied = status.error_code() == grpc::PERMISSION_DENIED;
        EXPECT_EQ(denied, !Suffices(role, RequiredRole(method)))
            << path << " as " << RoleName(role) << ": " << status.error_message();
        EXPECT_NE(status.error_code(), grpc::UNIMPLEMENTED) << path;
        EXPECT_EQ(InfoOf(status).reason() == "ROLE_REQUIRED", denied) << path;
      }
    }
  }
}

TEST_F(Access, NothingElseIsServed) {
  Start(kRoles);
  std::set<std::string> known = {"grpc.health.v1.Health",
                                 "grpc.reflection.v1alpha.ServerReflection"};
  for (const auto* service : PublicServices()) known.insert(service->full_name());
  const auto listed = ListServices(As(kViewer));
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), known);
}

TEST_F(Access, WhoHasNoRoleIsHungUpOn) {
  Start(kRoles);
  EXPECT_FALSE(IsServed(ConnectAs(kStranger, socket())));
  EXPECT_TRUE(IsServed(ConnectAs(kViewer, socket())));
  const auto lines = Audited();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("who"), "user 54004");
  EXPECT_EQ(lines[0].at("method"), "connect");
  EXPECT_EQ(lines[0].at("code"), "PERMISSION_DENIED");
}

TEST_F(Access, GroupsGiveRolesTheSupplementaryOnesToo) {
  Start(kRoles);
  EXPECT_EQ(Stop(As({54004, 54102}), "a").error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(Stop(As({54005, 54005, {7, 54102}}), "a").error_code(), grpc::NOT_FOUND);
  // The same user, with another group.
  EXPECT_EQ(Stop(As({54004, 54101}), "a").error_code(), grpc::PERMISSION_DENIED);
  EXPECT_FALSE(IsServed(ConnectAs({54004, 54004, {7}}, socket())));
}

TEST_F(Access, WithoutAConfigurationTheDaemonsUserIsAlone) {
  daemon_ = std::make_unique<DaemonProcess>(directory_);
  daemon_->KeepDirectory();
  struct stat status;
  ASSERT_EQ(stat(socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_FALSE(ConnectAs(kViewer, socket()).valid());
  // Nor if somebody opens it.
  ASSERT_EQ(chmod(socket().c_str(), 0666), 0);
  EXPECT_FALSE(IsServed(ConnectAs(kViewer, socket())));
  EXPECT_TRUE(List(As(kRoot)).ok());
}

TEST_F(Access, TheSocketHasTheOwnerGroupAndModeOfItsConfiguration) {
  Start("[socket]\nowner = 54001\ngroup = 54101\nmode = \"0640\"\n");
  struct stat status;
  ASSERT_EQ(stat(socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 54001u);
  EXPECT_EQ(status.st_gid, 54101u);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST_F(Access, WhatLiesBesideTheSocketIsTheDaemonsAlone) {
  Start(kRoles);
  v1::Vm vm;
  ASSERT_TRUE(Create(As(kAdmin), TRAPLINE_GUESTS_DIR "/idle.elf", &vm).ok());
  for (const char* path :
       {"/state/vms.sqlite", "/state/vms.sqlite-wal", "/run/vms/a", "/audit.log"}) {
    struct stat status;
    ASSERT_EQ(stat((directory_ + path).c_str(), &status), 0) << path;
    EXPECT_EQ(status.st_mode & 077, 0u) << path;
  }
}

TEST_F(Access, TheAuditLogHasWhatChangesAndWhatWasDenied) {
  Start(kRoles);
  auto op = As(kOperator);
  v1::Vm vm;
  ASSERT_TRUE(Create(op, TRAPLINE_GUESTS_DIR "/idle.elf", &vm).ok());
  EXPECT_TRUE(List(op).ok());  // looking is not audited
  EXPECT_EQ(Stop(As(kViewer), "a").error_code(), grpc::PERMISSION_DENIED);
  EXPECT_EQ(RawCall(As(kViewer), "/trapline.v1.Vms/Console", "\x0a\x05vms/a").error_code(),
            grpc::PERMISSION_DENIED);
  EXPECT_EQ(Stop(op, "none").error_code(), grpc::NOT_FOUND);
  const auto lines = Audited();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].at("who"), "user 54002");
  EXPECT_EQ(lines[0].at("role"), "operator");
  EXPECT_EQ(lines[0].at("method"), "trapline.v1.Vms/CreateVm");
  EXPECT_EQ(lines[0].at("vm"), "a");
  EXPECT_EQ(lines[0].at("code"), "OK");
  EXPECT_EQ(lines[1].at("who"), "user 54001");
  EXPECT_EQ(lines[1].at("method"), "trapline.v1.Vms/StopVm");
  EXPECT_EQ(lines[1].at("vm"), "a");
  EXPECT_EQ(lines[1].at("code"), "PERMISSION_DENIED");
  EXPECT_EQ(lines[1].at("reason"), "ROLE_REQUIRED");
  EXPECT_EQ(lines[2].at("method"), "trapline.v1.Vms/Console");
  EXPECT_EQ(lines[2].at("vm"), "a");
  EXPECT_EQ(lines[3].at("vm"), "none");
  EXPECT_EQ(lines[3].at("code"), "NOT_FOUND");
}

TEST_F(Access, UsersThatAreOneTooManyAreHungUpOn) {
  Start(R"(
[socket]
mode = "0666"
max_users = 2
[access.viewer]
users = [54001, 54002]
)");
  // The first one is this test itself, which waited for the daemon.
  EXPECT_TRUE(List(As(kViewer)).ok());
  EXPECT_FALSE(IsServed(ConnectAs(kOperator, socket())));
  EXPECT_TRUE(List(As(kViewer)).ok());
  EXPECT_THAT(Audited().back().at("message"), HasSubstr("max_users = 2"));
}

TEST_F(Access, ConnectionsOfAUserThatAreOneTooManyAreHungUpOn) {
  Start(R"(
[socket]
mode = "0666"
max_connections_per_user = 2
[access.viewer]
users = [54001, 54002]
)");
  base::UniqueFd first = ConnectAs(kViewer, socket()), second = ConnectAs(kViewer, socket());
  EXPECT_TRUE(IsServed(first));
  EXPECT_TRUE(IsServed(second));
  EXPECT_FALSE(IsServed(ConnectAs(kViewer, socket())));
  EXPECT_THAT(Audited().back().at("message"), HasSubstr("max_connections_per_user = 2"));
  EXPECT_TRUE(IsServed(ConnectAs(kOperator, socket())));
  // One that is over makes room, once the daemon has noticed.
  first.Reset();
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  bool served = false;
  while (!served && std::chrono::steady_clock::now() < patience)
    served = IsServed(ConnectAs(kViewer, socket()));
  EXPECT_TRUE(served);
}

TEST_F(Access, AViewerWithAllItsStreamsShutsNobodyElseOut) {
  Start(std::string(kRoles) + "[limits]\nmax_streams_per_caller = 3\n");
  auto viewer = v1::Vms::NewStub(As(kViewer)), other = v1::Vms::NewStub(As(kOperator));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchVmEventsResponse>>> watches;
  auto watch = [&](v1::Vms::Stub& stub) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    watches.push_back(stub.WatchVmEvents(contexts.back().get(), {}));
    watches.back()->WaitForInitialMetadata();
  };
  for (int i = 0; i < 3; ++i) watch(*viewer);
  watch(*other);
  // Another connection is no other caller.
  auto again = v1::Vms::NewStub(As(kViewer));
  grpc::ClientContext context;
  const grpc::Status refused = again->WatchVmEvents(&context, {})->Finish();
  EXPECT_EQ(InfoOf(refused).reason(), "TOO_MANY_STREAMS");
  EXPECT_EQ(InfoOf(refused).metadata().at("caller"), "user 54001");
  EXPECT_TRUE(List(channels_.front()).ok());
  for (auto& open : contexts) open->TryCancel();
  // The other's stood.
  EXPECT_EQ(watches.back()->Finish().error_code(), grpc::CANCELLED);
}

TEST_F(Access, ReflectionHoldsNoMoreThreadsThanACallerMayHave) {
  Start(std::string(kRoles) + "[limits]\nmax_calls_per_caller = 2\n");
  auto viewer = As(kViewer);
  grpc::GenericStub stub(viewer);
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::GenericClientAsyncReaderWriter>> calls;
  const std::string reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  // Open, and nothing said on them.
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(
        stub.PrepareCall(contexts.back().get(),
                         "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue));
    calls.back()->StartCall(nullptr);
  }
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  grpc::Status refused;
  while (refused.ok() && std::chrono::steady_clock::now() < patience) refused = List(viewer);
  EXPECT_EQ(InfoOf(refused).reason(), "TOO_MANY_CALLS");
  EXPECT_EQ(RawCall(viewer, reflection, "").error_code(), grpc::CANCELLED);
  EXPECT_THAT(ListServices(As(kOperator)), ::testing::Contains("trapline.v1.Vms"));
  for (auto& context : contexts) context->TryCancel();
  while (!List(viewer).ok() && std::chrono::steady_clock::now() < patience) {
  }
  EXPECT_TRUE(List(viewer).ok());
  queue.Shutdown();
  void* tag;
  for (bool ok; queue.Next(&tag, &ok);) {
  }
}

TEST_F(Access, WithoutDescriptorsClientsWaitAndAreServedOnceThereAreSome) {
  Start(kRoles);
  rlimit before, none;
  ASSERT_EQ(prlimit(daemon_->pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  none = before;
  const std::string descriptors = "/proc/" + std::to_string(daemon_->pid()) + "/fd/";
  for (none.rlim_cur = 0; std::filesystem::is_symlink(descriptors + std::to_string(none.rlim_cur));)
    ++none.rlim_cur;
  ASSERT_EQ(prlimit(daemon_->pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  auto waiting = As(kViewer);
  while (daemon_->Log().find("clients have to wait") == std::string::npos) {
  }
  ASSERT_EQ(prlimit(daemon_->pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  EXPECT_TRUE(List(waiting).ok());
}

TEST_F(Access, AnOperatorsImagesComeFromTheirDirectories) {
  const std::filesystem::path images = directory_ + "/images";
  std::filesystem::create_directory(images);
  std::filesystem::copy_file(TRAPLINE_GUESTS_DIR "/idle.elf", images / "idle.elf");
  std::filesystem::create_symlink("idle.elf", images / "latest.elf");
  std::filesystem::create_symlink(TRAPLINE_GUESTS_DIR "/idle.elf", images / "outward.elf");
  Start(std::string(kRoles) + "[images]\ndirectories = [\"" + images.string() + "\"]\n");
  auto op = As(kOperator);
  v1::Vm vm;
  for (const std::string& kernel :
       {std::string(TRAPLINE_GUESTS_DIR "/idle.elf"), (images / "outward.elf").string(),
        (images / "../t.toml").string(), (images / "none.elf").string()}) {
    const grpc::Status status = Create(op, kernel, &vm);
    EXPECT_EQ(status.error_code(), grpc::PERMISSION_DENIED) << kernel;
    EXPECT_EQ(InfoOf(status).metadata().at("field"), "vm.spec.kernel_path");
  }
  ASSERT_TRUE(Create(op, (images / "latest.elf").string(), &vm).ok());
  EXPECT_EQ(vm.spec().kernel_path(), (images / "idle.elf").string());
  EXPECT_EQ(Create(As(kAdmin), TRAPLINE_GUESTS_DIR "/idle.elf", &vm).error_code(),
            grpc::ALREADY_EXISTS);
}

// What was looked at when the VM was made is opened again whenever it gets a new worker.
TEST_F(Access, ALinkThatComesLaterLeadsAnOperatorsVmNowhere) {
  const std::filesystem::path images = directory_ + "/images", kernel = images / "idle.elf";
  std::filesystem::create_directory(images);
  std::filesystem::copy_file(TRAPLINE_GUESTS_DIR "/idle.elf", kernel);
  Start(std::string(kRoles) + "[images]\ndirectories = [\"" + images.string() + "\"]\n");
  v1::Vm vm;
  ASSERT_TRUE(Create(As(kOperator), kernel, &vm).ok());
  std::filesystem::remove(kernel);
  std::filesystem::create_symlink(TRAPLINE_GUESTS_DIR "/idle.elf", kernel);
  EXPECT_TRUE(daemon_->StartVm("a").ok()) << "its image was read before";
  for (pid_t worker : daemon_->Children("trapline-vmm")) kill(worker, SIGKILL);
  for (bool restarted : {false, true}) {
    if (restarted) {
      channels_.clear();
      daemon_.reset();
      Start(std::string(kRoles));
    }
    EXPECT_EQ(daemon_->AwaitVm("a", v1::Vm::FAILED).state(), v1::Vm::FAILED);
    const grpc::Status refused = daemon_->StartVm("a");
    EXPECT_EQ(refused.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_THAT(refused.error_message(), HasSubstr("a link leads there"));
  }
  std::filesystem::remove(kernel);
  std::filesystem::copy_file(TRAPLINE_GUESTS_DIR "/hello.elf", kernel);
  EXPECT_TRUE(daemon_->StartVm("a").ok()) << "any file that lies there will do";
}

}  // namespace
}  // namespace trapline::daemon
