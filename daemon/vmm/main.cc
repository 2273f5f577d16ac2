// SPDX-License-Identifier: Apache-2.0
// trapline-vmm: one VM, reached over gRPC on a Unix socket. Started by traplined.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "core/base/cycles.h"
#include "daemon/common/logging.h"
#include "daemon/vmm/worker_service.h"
#include "grpc/grpc.h"
#include "grpcpp/server_builder.h"

namespace {

// For calls under way. An idle client's connection counts as one: the client hears of the end only
// when it next looks.
constexpr auto kStopDeadline = std::chrono::milliseconds(200);

}  // namespace

int main(int argc, char** argv) {
  using namespace trapline::daemon;
  CLI::App app(
      "trapline-vmm: one VM of traplined's, served on a Unix socket. Not meant to be started by "
      "hand.");
  std::string socket, log_level = "info";
  bool json = false;
  app.add_option("--socket", socket, "Unix socket to serve on; an old one is replaced")->required();
  app.add_option("--log-level", log_level, "trace, debug, info, warning or error");
  app.add_flag("--log-json", json, "Log JSON lines");
  CLI11_PARSE(app, argc, argv);
  SetUpLogging(log_level, json);

  // Signals are taken by one thread; all others inherit the mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Never undone: taking gRPC 1.51 down can wait ten seconds for a poller of its own.
  grpc_init();
  signal(SIGPIPE, SIG_IGN);

  // The measurement takes a while that the server's start takes anyway.
  std::thread measure([] { trapline::base::HostCyclesPerSecond(); });
  unlink(socket.c_str());
  auto service = std::make_unique<WorkerService>();
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
  builder.RegisterService(service.get());
  builder.SetMaxReceiveMessageSize(4 << 20);
  builder.SetMaxSendMessageSize(32 << 20);
  auto server = builder.BuildAndStart();
  measure.join();
  if (!server) {
    Log(spdlog::level::err, "cannot serve", {{"socket", socket}});
    return 1;
  }
  int taken = 0;
  sigwait(&signals, &taken);
  service->Close();
  server->Shutdown(std::chrono::system_clock::now() + kStopDeadline);
  server->Wait();
  unlink(socket.c_str());
  return 0;
}
