// SPDX-License-Identifier: Apache-2.0
// A traplined of a test's own, in a directory of its own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "trapline/v1/host.grpc.pb.h"
#include "trapline/v1/sites.grpc.pb.h"
#include "trapline/v1/traces.grpc.pb.h"
#include "trapline/v1/vms.grpc.pb.h"

namespace trapline::daemon {

class DaemonProcess {
 public:
  // directory: empty for a new one. Waits until it serves. Its VMs end with it unless it is told
  // otherwise.
  // program: empty for the one that was built.
  explicit DaemonProcess(const std::string& directory = "",
                         std::vector<std::string> more_arguments = {},
                         const std::string& program = "");
  ~DaemonProcess();

  v1::Vms::Stub& vms() { return *vms_; }
  v1::Sites::Stub& sites() { return *sites_; }
  v1::Traces::Stub& traces() { return *traces_; }
  v1::Host::Stub& host() { return *host_; }
  const std::string& directory() const { return directory_; }
  // A guest of core/guest/examples or tests, by the name of its file.
  grpc::Status CreateVm(const std::string& id, const std::string& guest,
                        const std::string& command_line,
                        v1::Engine engine = v1::ENGINE_UNSPECIFIED);
  pid_t pid() const { return pid_; }
  // Where --metrics-listen 0 came to.
  int metrics_port() const { return LoggedPort("metrics_port="); }
  // The same of --listen-tcp.
  int tcp_port() const { return LoggedPort("tcp_port="); }
  // Its log so far.
  std::string Log() const;
  // An idle guest of 16 MiB (core/guest/examples/idle.c) on that engine.
  grpc::Status CreateIdleVm(const std::string& id, v1::Engine engine = v1::ENGINE_UNSPECIFIED);
  grpc::Status StartVm(const std::string& id);
  grpc::Status StopVm(const std::string& id);  // at once
  grpc::Status DeleteVm(const std::string& id);
  v1::Vm GetVm(const std::string& id);  // an empty one where there is none
  // What its console said lately, up to and with that text; waits for it.
  std::string ConsoleUntil(const std::string& id, const std::string& text);
  // Waits until it is in that state; an empty one where it never is.
  v1::Vm AwaitVm(const std::string& id, v1::Vm::State state);
  // SIGTERM, and its exit code.
  int Terminate();
  // SIGKILL, and waits for its end.
  void Kill();
  // Its children of that name, as ps shows it (trapline-vmm, trapline-zygote).
  std::vector<pid_t> Children(const std::string& name) const;
  // Leaves the directory for another daemon.
  void KeepDirectory() { keep_ = true; }

 private:
  int LoggedPort(const std::string& key) const;

  std::string directory_;
  bool keep_ = false;
  pid_t pid_ = 0;
  std::unique_ptr<v1::Vms::Stub> vms_;
  std::unique_ptr<v1::Sites::Stub> sites_;
  std::unique_ptr<v1::Traces::Stub> traces_;
  std::unique_ptr<v1::Host::Stub> host_;
};

// Runs traplined with these arguments until it ends by itself; its exit code. program: as above.
int RunDaemon(std::vector<std::string> arguments, const std::string& program = "");

}  // namespace trapline::daemon
