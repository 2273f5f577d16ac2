// SPDX-License-Identifier: Apache-2.0
// trapline-vmm: one VM, reached over gRPC on a Unix socket; or what workers are forked from.
// Started by traplined.
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "core/base/cycles.h"
#include "core/base/thread.h"
#include "daemon/common/grpc_threads.h"
#include "daemon/common/logging.h"
#include "daemon/common/zygote_protocol.h"
#include "daemon/vmm/confinement/confinement.h"
#include "daemon/vmm/opened_files.h"
#include "daemon/vmm/worker_service.h"
#include "daemon/vmm/zygote.h"
#include "grpc/grpc.h"
#include "grpcpp/server_builder.h"

namespace {

using namespace trapline;
using namespace trapline::daemon;

// For calls under way. An idle client's connection counts as one: the client hears of the end only
// when it next looks.
constexpr auto kStopDeadline = std::chrono::milliseconds(200);
// Its one client's connection never has more than one closure waiting; the other thread may be
// gRPC's for writes that do not get on.
constexpr int kExecutorThreads = 2;

// The engine's expedited barriers have to be registered for. With one thread the kernel does that
// at once; later it waits until every CPU has been through its scheduler, which takes some 10 ms.
// The engine registers as well, and finds it done; it also says what is wrong where it fails.
void RegisterMembarrier() {
  syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

// Serves one VM until SIGTERM or SIGINT. measured: the time-stamp counter has been, before a fork.
int Serve(WorkerTask task, Confinement& confinement, bool measured) {
  RegisterMembarrier();
  unlink(task.socket.c_str());
  auto service = std::make_unique<WorkerService>(confinement, OpenedFiles(task.files));
  confinement.Enter(std::filesystem::path(task.socket).parent_path());
  // Signals are taken by one thread; all others inherit the mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Never undone: taking gRPC 1.51 down can wait ten seconds for a poller of its own.
  grpc_init();
  signal(SIGPIPE, SIG_IGN);
  // The kernel sends it to a worker that is stopped, by a debugger or a freezer, as its daemon
  // ends.
  signal(SIGHUP, SIG_IGN);

  // The measurement takes a while that the server's start takes anyway. Without a thread it is made
  // when it is needed.
  absl::StatusOr<std::thread> measure = std::thread();
  if (!measured) measure = base::StartThread("a measurement", [] { base::HostCyclesPerSecond(); });
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + task.socket, grpc::InsecureServerCredentials());
  builder.RegisterService(service.get());
  builder.SetMaxReceiveMessageSize(4 << 20);
  builder.SetMaxSendMessageSize(32 << 20);
  if (auto status = TryServerThreads(kExecutorThreads); !status.ok()) {
    Log(spdlog::level::err, "cannot serve", {{"reason", std::string(status.message())}});
    return 1;
  }
  auto server = builder.BuildAndStart();
  if (measure.ok() && measure->joinable()) measure->join();
  if (!server) {
    Log(spdlog::level::err, "cannot serve", {{"socket", task.socket}});
    return 1;
  }
  MakeExecutorThreads(kExecutorThreads);
  if (task.ready.valid() && !TellServing(task.ready)) return 1;  // the daemon has given it up
  task.ready.Reset();
  int taken = 0;
  sigwait(&signals, &taken);
  service->Close();
  server->Shutdown(std::chrono::system_clock::now() + kStopDeadline);
  server->Wait();
  unlink(task.socket.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "trapline-vmm: one VM of traplined's, served on a Unix socket. Not meant to be started by "
      "hand.");
  std::string socket, log_level = "info", padding;
  std::vector<std::string> files;
  bool json = false, zygote = false, inherited = false, unconfined = false;
  app.add_option("--socket", socket, "Unix socket to serve on; an old one is replaced");
  app.add_option("--file", files,
                 "A file that the VM is made from; may be given again. nolinks:PATH: without "
                 "following links")
      ->allow_extra_args(false);
  app.add_flag("--unconfined", unconfined,
               "Keep all privileges and the whole file system in sight");
  app.add_flag("--tell", inherited, "Say on descriptor 3 when it serves");
  app.add_flag("--zygote", zygote,
               "Fork workers when asked on descriptor 3 (daemon/vmm/zygote.cc)");
  app.add_option("--room", padding, "As long as what ps shall show of a worker that is forked");
  app.add_option("--log-level", log_level, "trace, debug, info, warning or error");
  app.add_flag("--log-json", json, "Log JSON lines");
  CLI11_PARSE(app, argc, argv);
  if (zygote == !socket.empty()) {
    std::cerr << "either --socket or --zygote\n";
    return 2;
  }
  SetUpLogging(log_level, json);

  WorkerTask task{socket, files, base::UniqueFd()};
  if (zygote || inherited) {
    close_range(kInheritedFd + 1, ~0u, 0);  // whatever else came along is not for a worker
    fcntl(kInheritedFd, F_SETFD, FD_CLOEXEC);
    task.ready = base::UniqueFd(kInheritedFd);
  }
  Confinement confinement(!unconfined);
  confinement.Prepare();
  if (zygote) {
    auto forked = RunZygote(std::move(task.ready), argc, argv);
    if (!forked) return 0;
    task = *std::move(forked);
  }
  return Serve(std::move(task), confinement, zygote);
}
