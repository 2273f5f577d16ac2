// SPDX-License-Identifier: Apache-2.0
// What a client may rely on: lifecycle, errors with details, idempotency, paging, events, a lost
// worker, the daemon's end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "tests/api/daemon_process.h"
#include "tests/common/error_info.h"

namespace trapline::daemon {
namespace {

class Api : public ::testing::Test {
 protected:
  grpc::Status Create(const std::string& id, const std::string& guest,
                      const std::string& append = "", const std::string& request_id = "",
                      v1::Vm* vm = nullptr) {
    v1::CreateVmRequest request;
    request.set_vm_id(id);
    request.set_request_id(request_id);
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) + "/" + guest + ".elf");
    spec->set_command_line(append);
    spec->set_memory_bytes(64 << 20);
    v1::Vm unused;
    grpc::ClientContext context;
    return daemon_->vms().CreateVm(&context, request, vm ? vm : &unused);
  }
  grpc::Status Start(const std::string& id) { return daemon_->StartVm(id); }
  v1::Vm Get(const std::string& id) {
    v1::GetVmRequest request;
    request.set_name("vms/" + id);
    v1::Vm vm;
    grpc::ClientContext context;
    daemon_->vms().GetVm(&context, request, &vm);
    return vm;
  }
  v1::Vm Await(const std::string& id, v1::Vm::State state) { return daemon_->AwaitVm(id, state); }

  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>();
};

constexpr char kEndless[] = "calls=1000000000000";

TEST_F(Api, AGuestsStatusIsInItsVm) {
  ASSERT_TRUE(Create("a", "hello", "status=3").ok());
  EXPECT_EQ(Get("a").state(), v1::Vm::CREATED);
  ASSERT_TRUE(Start("a").ok());
  EXPECT_EQ(Await("a", v1::Vm::STOPPED).exit_status(), 7);
}

TEST_F(Api, TheHostSaysWhatItsInstructionsDo) {
  grpc::ClientContext context;
  v1::HostInfo host;
  ASSERT_TRUE(daemon_->host().GetHostInfo(&context, {}, &host).ok());
  std::map<std::string, v1::TrapBehaviour> traps;
  for (const auto& trap : host.traps()) traps[trap.instruction()] = trap;
  EXPECT_EQ(traps["ud2"].kind(), v1::TrapBehaviour::INVALID_OPCODE);
  EXPECT_EQ(traps["int 0x1f"].kind(), v1::TrapBehaviour::GENERAL_PROTECTION);
  EXPECT_EQ(traps["int3"].kind(), v1::TrapBehaviour::OTHER_FAULT);
  EXPECT_NE(traps["vmcall"].kind(), v1::TrapBehaviour::KIND_UNSPECIFIED);
  for (const auto& engine : host.engines()) EXPECT_NE(engine.reason(), "") << engine.engine();
}

TEST_F(Api, AVmSaysWhichEngineAndWhy) {
  v1::CreateVmRequest request;
  request.set_vm_id("a");
  auto* spec = request.mutable_vm()->mutable_spec();
  spec->set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) + "/hello.elf");
  spec->set_engine(v1::ENGINE_SOFT);
  v1::Vm vm;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->vms().CreateVm(&context, request, &vm).ok());
  EXPECT_EQ(vm.engine(), v1::ENGINE_SOFT);
  EXPECT_NE(vm.engine_reason(), "");
  EXPECT_EQ(Get("a").engine_reason(), vm.engine_reason());
}

TEST_F(Api, IllegalMovesNameBothStates) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  v1::PauseVmRequest request;
  request.set_name("vms/a");
  v1::Vm vm;
  grpc::ClientContext context;
  grpc::Status status = daemon_->vms().PauseVm(&context, request, &vm);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  google::rpc::ErrorInfo info = InfoOf(status);
  EXPECT_EQ(info.reason(), "VM_WRONG_STATE");
  EXPECT_EQ(info.domain(), "trapline");
  EXPECT_EQ(info.metadata().at("current"), "CREATED");
  EXPECT_EQ(info.metadata().at("allowed"), "RUNNING");
}

TEST_F(Api, AStartIsAnsweredOnceItIsKnown) {
  ASSERT_TRUE(daemon_->CreateVm("a", "hello", "").ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  for (int run = 0; run < 200; ++run) {
    v1::Vm before;
    // The end of the run before is shown a little before it is told to those who watch.
    do before = daemon_->GetVm("a");
    while (before.state() != v1::Vm::STOPPED);
    ASSERT_TRUE(daemon_->StartVm("a").ok());
    ASSERT_NE(daemon_->GetVm("a").etag(), before.etag()) << run;
  }
}

TEST_F(Api, WrongInputNamesItsField) {
  grpc::Status status = Create("Not-A-Name", "hello");
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations(0).field(), "vm_id");
  status = Create("a", "no-such-guest");
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations(0).field(),
            "vm.spec.kernel");
  for (const char* path : {"/dev/zero", "/proc/kcore", "/tmp"}) {
    v1::CreateVmRequest request;
    request.set_vm_id("a");
    request.mutable_vm()->mutable_spec()->set_kernel_path(path);
    v1::Vm vm;
    grpc::ClientContext context;
    EXPECT_EQ(daemon_->vms().CreateVm(&context, request, &vm).error_code(), grpc::INVALID_ARGUMENT)
        << path;
  }
  EXPECT_EQ(Start("nobody").error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(InfoOf(Start("nobody")).reason(), "VM_NOT_FOUND");
}

TEST_F(Api, ARepeatedRequestMakesNoSecondVm) {
  v1::Vm first, second;
  ASSERT_TRUE(Create("a", "hello", "", "request-1", &first).ok());
  ASSERT_TRUE(Create("a", "hello", "", "request-1", &second).ok());
  EXPECT_EQ(first.uid(), second.uid());
  EXPECT_EQ(Create("a", "hello", "", "request-2").error_code(), grpc::ALREADY_EXISTS);
}

TEST_F(Api, ARequestIdIsForOneRequest) {
  ASSERT_TRUE(Create("a", "hello", "", "request-1").ok());
  grpc::Status status = Create("a", "hello", "status=1", "request-1");
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations(0).field(), "request_id");
}

// A worker that may write no files dies of making the guest's memory.
TEST_F(Api, AWorkerThatDiesOverItsImagesIsTold) {
  char script[] = "/tmp/trapline-vmm-XXXXXX";
  close(mkstemp(script));
  std::ofstream(script) << "#!/bin/sh\nulimit -f 0\nexec " TRAPLINE_VMM " \"$@\"\n";
  chmod(script, 0700);
  daemon_ = nullptr;
  daemon_ = std::make_unique<DaemonProcess>("", std::vector<std::string>{"--vmm-path", script});
  grpc::Status status = Create("a", "hello");
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(InfoOf(status).reason(), "WORKER_LOST");
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("killed by signal 25"));
  EXPECT_EQ(Start("a").error_code(), grpc::NOT_FOUND) << "nothing is left of it";

  std::ofstream(script) << "#!/bin/sh\nexit 3\n";
  status = Create("a", "hello");
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("exited with 3"));
  EXPECT_FALSE(InfoOf(status).reason().empty());
  std::filesystem::remove(script);
}

TEST_F(Api, ListsArePaged) {
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(Create(id, "hello").ok());
  v1::ListVmsRequest request;
  request.set_page_size(2);
  v1::ListVmsResponse page;
  grpc::ClientContext first;
  ASSERT_TRUE(daemon_->vms().ListVms(&first, request, &page).ok());
  EXPECT_EQ(page.vms_size(), 2);
  request.set_page_token(page.next_page_token());
  grpc::ClientContext second;
  ASSERT_TRUE(daemon_->vms().ListVms(&second, request, &page).ok());
  ASSERT_EQ(page.vms_size(), 1);
  EXPECT_EQ(page.vms(0).name(), "vms/c");
  EXPECT_EQ(page.next_page_token(), "");
}

TEST_F(Api, AWatchHasNoGapAndResumes) {
  ASSERT_TRUE(Create("a", "hello").ok());
  grpc::ClientContext context;
  v1::WatchVmEventsRequest request;
  auto watch = daemon_->vms().WatchVmEvents(&context, request);
  watch->WaitForInitialMetadata();
  ASSERT_TRUE(Start("a").ok());
  v1::WatchVmEventsResponse response;
  std::vector<v1::VmEvent::Kind> kinds;
  std::string token;
  while (kinds.empty() || kinds.back() != v1::VmEvent::STOPPED) {
    ASSERT_TRUE(watch->Read(&response));
    if (!response.has_event()) continue;
    kinds.push_back(response.event().kind());
    if (kinds.size() == 1) token = response.resume_token();
  }
  EXPECT_THAT(kinds, ::testing::ElementsAre(v1::VmEvent::STARTED, v1::VmEvent::GUEST_POWER_OFF,
                                            v1::VmEvent::STOPPED));
  context.TryCancel();

  grpc::ClientContext again;
  request.set_resume_token(token);
  auto resumed = daemon_->vms().WatchVmEvents(&again, request);
  ASSERT_TRUE(resumed->Read(&response));
  EXPECT_EQ(response.event().kind(), v1::VmEvent::GUEST_POWER_OFF);
  again.TryCancel();
}

TEST_F(Api, OnlyAVmThatIsThereIsToldOf) {
  grpc::ClientContext context;
  auto watch = daemon_->vms().WatchVmEvents(&context, {});
  watch->WaitForInitialMetadata();
  v1::CreateVmRequest request;
  request.set_vm_id("tried");
  request.mutable_vm()->mutable_spec()->set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) +
                                                        "/hello.elf");
  request.set_validate_only(true);
  v1::Vm vm;
  grpc::ClientContext trying;
  ASSERT_TRUE(daemon_->vms().CreateVm(&trying, request, &vm).ok());
  ASSERT_TRUE(Create("made", "hello").ok());
  v1::WatchVmEventsResponse response;
  while (!response.has_event()) ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.event().vm(), "vms/made");
  EXPECT_EQ(Get("made").state(), v1::Vm::CREATED);
  context.TryCancel();
}

TEST_F(Api, AKilledWorkerIsAFailedVmWhoseSitesCanStillBeRead) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  ASSERT_TRUE(Start("a").ok());
  v1::ListSitesRequest request;
  request.set_parent("vms/a");
  v1::ListSitesResponse sites;
  while (sites.sites_size() == 0 || sites.sites(0).state() != v1::Site::LINKED) {
    grpc::ClientContext context;
    ASSERT_TRUE(daemon_->sites().ListSites(&context, request, &sites).ok());
  }
  // The worker is the daemon's only child.
  pid_t worker = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream command(entry.path() / "cmdline");
    std::string text((std::istreambuf_iterator<char>(command)), {});
    if (text.find(daemon_->directory() + "/run/vms/a/vmm.sock") != std::string::npos)
      worker = std::stoi(entry.path().filename());
  }
  ASSERT_GT(worker, 0);
  kill(worker, SIGKILL);
  v1::Vm vm = Await("a", v1::Vm::FAILED);
  EXPECT_THAT(vm.state_reason(), ::testing::HasSubstr("killed by signal 9"));
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->sites().ListSites(&context, request, &sites).ok());
  ASSERT_EQ(sites.sites_size(), 1);
  EXPECT_GT(sites.sites(0).fast_calls(), 0u);
}

TEST_F(Api, TheCodeOfASiteIsShownAsItWasAndAsItIs) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  ASSERT_TRUE(Start("a").ok());
  v1::ListSitesRequest list;
  list.set_parent("vms/a");
  v1::ListSitesResponse sites;
  while (sites.sites_size() == 0 || sites.sites(0).state() != v1::Site::LINKED) {
    grpc::ClientContext context;
    ASSERT_TRUE(daemon_->sites().ListSites(&context, list, &sites).ok());
  }
  auto disassemble = [&](const v1::DisassembleSiteRequest& request, v1::SiteCode* code) {
    grpc::ClientContext context;
    return daemon_->sites().DisassembleSite(&context, request, code);
  };
  v1::DisassembleSiteRequest request;
  request.set_name(sites.sites(0).name());
  request.set_before(2);
  v1::SiteCode code;
  ASSERT_TRUE(disassemble(request, &code).ok());
  EXPECT_EQ(code.name(), request.name());
  ASSERT_GE(code.lines_size(), 2 + 1 + 6);
  const v1::SiteCode::Line& site = code.lines(2);
  EXPECT_TRUE(site.site());
  EXPECT_EQ(site.address(), sites.sites(0).gva());
  EXPECT_EQ(site.original().bytes(), sites.sites(0).original());
  EXPECT_EQ(site.original().text(), "vmcall");
  EXPECT_NE(site.current().text(), "vmcall");
  EXPECT_FALSE(code.lines(1).site());
  EXPECT_EQ(code.lines(1).original().text(), code.lines(1).current().text());
  EXPECT_NE(code.lines(1).original().symbol(), "");
  const bool direct = Get("a").engine() == v1::ENGINE_DIRECT;
  EXPECT_EQ(code.trampolines_size(), direct ? 2 : 0);

  request.set_after(101);
  EXPECT_EQ(
      DetailOf<google::rpc::BadRequest>(disassemble(request, &code)).field_violations(0).field(),
      "after");
  request.set_after(0);
  request.set_name("vms/a/sites/0xfff000");
  EXPECT_EQ(InfoOf(disassemble(request, &code)).reason(), "SITE_NOT_FOUND");
  request.set_name("vms/a");
  EXPECT_EQ(disassemble(request, &code).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(Api, SymbolsThatAreNoneAreRefusedByTheirField) {
  auto refused = [&](const std::string& path) {
    v1::CreateVmRequest request;
    request.set_vm_id("a");
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) + "/hello.elf");
    spec->set_symbols_path(path);
    spec->set_memory_bytes(64 << 20);
    v1::Vm vm;
    grpc::ClientContext context;
    grpc::Status status = daemon_->vms().CreateVm(&context, request, &vm);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    return DetailOf<google::rpc::BadRequest>(status).field_violations(0);
  };
  EXPECT_EQ(refused("relative/System.map").field(), "vm.spec.symbols_path");
  const auto elf = refused("/proc/self/exe");
  EXPECT_EQ(elf.field(), "vm.spec.symbols_path");
  EXPECT_THAT(elf.description(), ::testing::HasSubstr("bring their own"));
}

TEST_F(Api, AVmSaysWhereItsNamesComeFrom) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  ASSERT_TRUE(Start("a").ok());
  EXPECT_THAT(Get("a").symbols(), ::testing::HasSubstr("the image's own"));
}

TEST_F(Api, SigtermEndsStreamsAndTheDaemonWithZeroAndDefinitionsSurvive) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  ASSERT_TRUE(Start("a").ok());
  grpc::ClientContext context;
  v1::WatchVmEventsRequest request;
  auto watch = daemon_->vms().WatchVmEvents(&context, request);
  watch->WaitForInitialMetadata();
  EXPECT_EQ(daemon_->Terminate(), 0);
  v1::WatchVmEventsResponse response;
  while (watch->Read(&response)) {
  }
  EXPECT_EQ(watch->Finish().error_code(), grpc::UNAVAILABLE);

  daemon_->KeepDirectory();
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory());
  EXPECT_EQ(Get("a").state(), v1::Vm::STOPPED);
  ASSERT_TRUE(Start("a").ok());
}

// The daemon waits ten seconds for calls.
TEST_F(Api, SigtermEndsVmsAlsoWhereACallDoesNotEnd) {
  ASSERT_TRUE(Create("a", "hello", kEndless).ok());
  ASSERT_TRUE(Start("a").ok());
  const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
  ASSERT_EQ(workers.size(), 1u);
  v1::StopVmRequest request;
  request.set_name("vms/a");
  request.mutable_grace_period()->set_seconds(600);
  std::thread stopping([&] {
    // Until it does not meet one of the moves by which it is seen to be under way.
    for (grpc::Status stopped(grpc::ABORTED, ""); stopped.error_code() == grpc::ABORTED;) {
      v1::StopVmResponse response;
      grpc::ClientContext context;
      stopped = daemon_->vms().StopVm(&context, request, &response);
    }
  });
  while (Start("a").error_code() != grpc::ABORTED) {
  }
  EXPECT_EQ(daemon_->Terminate(), 1);
  EXPECT_NE(kill(workers.front(), 0), 0);
  stopping.join();
}

TEST(DaemonFlags, TcpIsRefusedWithoutCertificates) {
  std::string directory = std::filesystem::temp_directory_path() / "trapline-flags";
  std::vector<std::string> common = {
      "--listen", directory + "/d.sock", "--run-dir", directory, "--state-dir",
      directory,  "--log-level",         "error"};
  auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), common.begin(), common.end());
    return more;
  };
  EXPECT_EQ(RunDaemon(with({"--listen-tcp", "127.0.0.1:0"})), 1);
  EXPECT_EQ(RunDaemon(with({"--config", directory + "/none.toml"})), 1);
  EXPECT_EQ(RunDaemon({"--no-such-flag"}), 2);
  std::filesystem::remove_all(directory);
}

TEST_F(Api, TwoDaemonsOnOneSocketAreRefused) {
  EXPECT_EQ(RunDaemon({"--listen", daemon_->directory() + "/d.sock", "--run-dir",
                       daemon_->directory() + "/run", "--state-dir",
                       daemon_->directory() + "/state", "--log-level", "off"}),
            2);
  EXPECT_EQ(RunDaemon({"--listen", daemon_->directory() + "/d.sock", "--run-dir",
                       daemon_->directory() + "/run", "--state-dir",
                       daemon_->directory() + "/state", "--log-level", "error"}),
            1);
}

}  // namespace
}  // namespace trapline::daemon
