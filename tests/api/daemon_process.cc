// SPDX-License-Identifier: Apache-2.0
// Starts and ends a daemon.
#include "tests/api/daemon_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>

#include "grpcpp/create_channel.h"

namespace trapline::daemon {
namespace {

// log: where standard error goes; empty: ours.
pid_t Spawn(std::vector<std::string> arguments, const std::string& log = "",
            const std::string& program = TRAPLINED) {
  arguments.insert(arguments.begin(), program);
  pid_t pid = fork();
  if (pid != 0) return pid;
  if (!log.empty()) dup2(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

int ExitCode(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

grpc::Status DaemonProcess::CreateIdleVm(const std::string& id, v1::Engine engine) {
  return CreateVm(id, "idle", "", engine);
}

grpc::Status DaemonProcess::CreateVm(const std::string& id, const std::string& guest,
                                     const std::string& command_line, v1::Engine engine) {
  v1::CreateVmRequest request;
  request.set_vm_id(id);
  auto* spec = request.mutable_vm()->mutable_spec();
  spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/" + guest + ".elf");
  spec->set_command_line(command_line);
  spec->set_memory_bytes(16 << 20);
  spec->set_engine(engine);
  v1::Vm vm;
  grpc::ClientContext context;
  return vms().CreateVm(&context, request, &vm);
}

grpc::Status DaemonProcess::StartVm(const std::string& id) {
  v1::StartVmRequest request;
  request.set_name("vms/" + id);
  v1::Vm vm;
  grpc::ClientContext context;
  return vms().StartVm(&context, request, &vm);
}

grpc::Status DaemonProcess::StopVm(const std::string& id) {
  v1::StopVmRequest request;
  request.set_name("vms/" + id);
  request.set_mode(v1::StopVmRequest::FORCED);
  v1::StopVmResponse response;
  grpc::ClientContext context;
  return vms().StopVm(&context, request, &response);
}

grpc::Status DaemonProcess::DeleteVm(const std::string& id) {
  v1::DeleteVmRequest request;
  request.set_name("vms/" + id);
  request.set_force(true);
  google::protobuf::Empty response;
  grpc::ClientContext context;
  return vms().DeleteVm(&context, request, &response);
}

v1::Vm DaemonProcess::GetVm(const std::string& id) {
  v1::GetVmRequest request;
  request.set_name("vms/" + id);
  v1::Vm vm;
  grpc::ClientContext context;
  vms().GetVm(&context, request, &vm);
  return vm;
}

std::string DaemonProcess::ConsoleUntil(const std::string& id, const std::string& text) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  auto stream = vms().Console(&context);
  v1::ConsoleRequest request;
  request.set_name("vms/" + id);
  stream->Write(request);
  std::string said;
  v1::ConsoleResponse response;
  while (said.find(text) == std::string::npos && stream->Read(&response)) said += response.output();
  context.TryCancel();
  return said;
}

v1::Vm DaemonProcess::AwaitVm(const std::string& id, v1::Vm::State state) {
  v1::WaitVmRequest request;
  request.set_name("vms/" + id);
  request.add_target_states(state);
  v1::Vm vm;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  vms().WaitVm(&context, request, &vm);
  return vm;
}

int RunDaemon(std::vector<std::string> arguments, const std::string& program) {
  return ExitCode(Spawn(std::move(arguments), "", program.empty() ? TRAPLINED : program));
}

DaemonProcess::DaemonProcess(const std::string& directory, std::vector<std::string> more,
                             const std::string& program)
    : directory_(directory) {
  if (directory_.empty()) {
    char name[] = "/tmp/trapline-api-XXXXXX";
    directory_ = mkdtemp(name);
  }
  std::vector<std::string> arguments = {
      "--listen",    directory_ + "/d.sock", "--run-dir",   directory_ + "/run",
      "--state-dir", directory_ + "/state",  "--log-level", "info"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  if (std::find(more.begin(), more.end(), "--on-exit") == more.end())
    arguments.insert(arguments.end(), {"--on-exit", "stop"});
  pid_ = Spawn(std::move(arguments), directory_ + "/log", program.empty() ? TRAPLINED : program);
  grpc::ChannelArguments impatient;
  impatient.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 10);
  impatient.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10);
  impatient.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
  // Not the connection to an earlier daemon there, which may not be known to be dead yet.
  impatient.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel = grpc::CreateCustomChannel("unix:" + directory_ + "/d.sock",
                                           grpc::InsecureChannelCredentials(), impatient);
  channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20));
  vms_ = v1::Vms::NewStub(channel);
  sites_ = v1::Sites::NewStub(channel);
  traces_ = v1::Traces::NewStub(channel);
  host_ = v1::Host::NewStub(channel);
}

DaemonProcess::~DaemonProcess() {
  // The daemon waits a while for clients that are connected.
  vms_ = nullptr;
  sites_ = nullptr;
  traces_ = nullptr;
  host_ = nullptr;
  if (pid_ > 0) Terminate();
  if (::testing::Test::HasFailure()) std::cerr << Log();
  if (!keep_) std::filesystem::remove_all(directory_);
}

std::string DaemonProcess::Log() const {
  std::ifstream log(directory_ + "/log");
  return std::string((std::istreambuf_iterator<char>(log)), {});
}

int DaemonProcess::LoggedPort(const std::string& key) const {
  // It serves before it says where.
  for (;;) {
    std::string log = Log();
    size_t at = log.find(key), end = log.find('\n', at);
    if (at != std::string::npos && end != std::string::npos)
      return std::stoi(log.substr(at + key.size()));
  }
}

int DaemonProcess::Terminate() {
  kill(pid_, SIGTERM);
  return ExitCode(std::exchange(pid_, 0));
}

void DaemonProcess::Kill() {
  kill(pid_, SIGKILL);
  ExitCode(std::exchange(pid_, 0));
}

std::vector<pid_t> DaemonProcess::Children(const std::string& name) const {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    // "pid (name) state parent ...", of processes that may be gone by now.
    std::ifstream file(entry.path() / "stat");
    pid_t pid, parent;
    std::string word, state;
    if (file >> pid >> word >> state >> parent && parent == pid_ && state != "Z" &&
        word == "(" + name + ")")
      found.push_back(pid);
  }
  return found;
}

}  // namespace trapline::daemon
