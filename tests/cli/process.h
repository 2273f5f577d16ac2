// SPDX-License-Identifier: Apache-2.0
// Runs a program as a shell would, and a traplined of its own for the tests to talk to.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace trapline::cli_test {

constexpr std::chrono::seconds kPatience{60};

using Environment = std::map<std::string, std::string>;

// A child with pipes (or a terminal) on its standard descriptors; killed and reaped on destruction.
class Process {
 public:
  enum class Stdio { kPipes, kTerminal };

  // argv[0] is a path. The environment is ours with these changes; NO_COLOR and the like are passed
  // on unchanged.
  Process(std::vector<std::string> argv, const Environment& changes = {},
          Stdio stdio = Stdio::kPipes);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Write(std::string_view bytes);
  void CloseStdin();
  void Signal(int signal);

  // Reads standard output until it holds `text` (searched from after the previous find); false at
  // its end, or when patience is over.
  bool ReadUntil(std::string_view text);
  // The same of standard error, from its beginning.
  bool ReadErrorUntil(std::string_view text);
  // Reads both outputs to their end and waits; the exit code, or 128 plus the signal.
  int Wait();

  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  // Waits for output and keeps it; false where there is no more.
  bool Pump(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = -1;
  base::UniqueFd in_fd_, out_fd_, err_fd_;
  std::string out_, err_;
  size_t found_ = 0;
  std::optional<int> status_;
};

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

// traplined in a directory of its own, and trapline talking to it. Ended by SIGTERM on destruction.
class Daemon {
 public:
  Daemon();
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Ends it, by SIGTERM, with all its VMs; and starts it again where it was.
  void Stop();
  void Start();

  const std::string& host() const { return host_; }
  // Runs trapline with these arguments against this daemon to its end.
  Result Run(std::vector<std::string> arguments, std::string_view input = {}) const;
  // The same, left running.
  std::vector<std::string> Command(std::vector<std::string> arguments) const;
  Environment environment() const;
  // Kills the worker of a VM, as a bug in it would.
  void KillWorker(const std::string& vm) const;

 private:
  std::string directory_;
  std::string host_;
  std::optional<Process> process_;
};

// Runs trapline to its end with no daemon behind it.
Result RunTrapline(std::vector<std::string> arguments, const Environment& changes = {},
                   std::string_view input = {});

// A guest of tests/cli/guests: its image's path.
std::string Guest(std::string_view name);

}  // namespace trapline::cli_test
