// SPDX-License-Identifier: Apache-2.0
// Runs a program as a shell would, and a traplined of its own for the tests to talk to.
#include "tests/cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"

namespace trapline::cli_test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  base::UniqueFd read, write;

  Pipe() {
    std::array<int, 2> fds{};
    if (pipe2(fds.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read.Reset(fds[0]);
    write.Reset(fds[1]);
  }
};

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> MergedEnvironment(const Environment& changes) {
  Environment merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      merged[std::string(text.substr(0, equals))] = text.substr(equals + 1);
    }
  }
  for (const auto& [name, value] : changes) merged[name] = value;
  std::vector<std::string> out;
  for (const auto& [name, value] : merged) out.push_back(absl::StrCat(name, "=", value));
  return out;
}

// Appends what one descriptor has; closes it at its end (EIO is how a terminal ends).
void Drain(base::UniqueFd& fd, std::string& to) {
  std::array<char, 16384> buffer;
  const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
  if (got > 0) {
    to.append(buffer.data(), static_cast<size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    fd.Reset();
  }
}

}  // namespace

Process::Process(std::vector<std::string> argv, const Environment& changes, Stdio stdio) {
  signal(SIGPIPE, SIG_IGN);  // a child that ends early is an outcome, not our end
  std::vector<std::string> environment = MergedEnvironment(changes);
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  if (stdio == Stdio::kTerminal) {
    int terminal = -1;
    winsize size{};
    size.ws_row = 40;
    size.ws_col = 120;
    pid_ = forkpty(&terminal, nullptr, nullptr, &size);
    if (pid_ < 0) throw std::runtime_error("forkpty");
    if (pid_ == 0) {
      signal(SIGPIPE, SIG_DFL);
      execve(arguments[0], arguments.data(), variables.data());
      _exit(127);
    }
    out_fd_.Reset(terminal);
    in_fd_.Reset(fcntl(terminal, F_DUPFD_CLOEXEC, 0));
    (void)fcntl(terminal, F_SETFD, FD_CLOEXEC);
    return;
  }
  Pipe in, out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t by_default;
  sigemptyset(&by_default);
  sigaddset(&by_default, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &by_default);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int error =
      posix_spawn(&pid_, arguments[0], &actions, &attributes, arguments.data(), variables.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(absl::StrCat("cannot start ", argv[0]));
  in_fd_ = std::move(in.write);
  out_fd_ = std::move(out.read);
  err_fd_ = std::move(err.read);
}

Process::~Process() {
  if (status_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(in_fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return;  // the child has gone; its exit code says why
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void Process::CloseStdin() { in_fd_.Reset(); }

void Process::Signal(int signal) { kill(pid_, signal); }

bool Process::Pump(Clock::time_point deadline) {
  std::array<pollfd, 2> fds{{{out_fd_.get(), POLLIN, 0}, {err_fd_.get(), POLLIN, 0}}};
  if (!out_fd_.valid() && !err_fd_.valid()) return false;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  const int ready =
      poll(fds.data(), fds.size(), static_cast<int>(std::max<int64_t>(0, left.count())));
  if (ready == 0) return false;
  if (ready < 0) return errno == EINTR;
  if (fds[0].revents != 0) Drain(out_fd_, out_);
  if (fds[1].revents != 0) Drain(err_fd_, err_);
  return true;
}

bool Process::ReadUntil(std::string_view text) {
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (true) {
    const size_t at = out_.find(text, found_);
    if (at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    if (!Pump(deadline)) return false;
  }
}

bool Process::ReadErrorUntil(std::string_view text) {
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (err_.find(text) == std::string::npos) {
    if (!Pump(deadline)) return false;
  }
  return true;
}

int Process::Wait() {
  if (status_) return *status_;
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (Pump(deadline)) {
  }
  if (Clock::now() >= deadline) kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return *status_;
}

Daemon::Daemon() {
  std::string pattern = (std::filesystem::temp_directory_path() / "trapline-cli-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = pattern;
  host_ = absl::StrCat("unix://", directory_, "/traplined.sock");
  Start();
}

void Daemon::Start() {
  // Its log goes to a file: a pipe that nobody reads would fill and stop it.
  process_.emplace(std::vector<std::string>{
      "/bin/sh", "-c", absl::StrCat("exec \"$0\" \"$@\" >", directory_, "/log 2>&1"),
      TRAPLINED_BINARY, "--listen", host_, "--state-dir", directory_ + "/state", "--run-dir",
      directory_ + "/run", "--vmm-path", TRAPLINE_VMM_BINARY, "--on-exit", "stop"});
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  const auto channel =
      grpc::CreateCustomChannel(host_, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kPatience)) {
    process_->Signal(SIGKILL);
    process_->Wait();
    std::ifstream log(directory_ + "/log");
    throw std::runtime_error(absl::StrCat("traplined did not come up: ",
                                          std::string(std::istreambuf_iterator<char>(log), {})));
  }
}

void Daemon::Stop() {
  process_->Signal(SIGTERM);
  process_->Wait();
  process_.reset();
}

Daemon::~Daemon() {
  if (process_) Stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

Environment Daemon::environment() const { return {{"TRAPLINE_HOST", host_}}; }

void Daemon::KillWorker(const std::string& vm) const {
  const std::string socket = absl::StrCat(directory_, "/run/vms/", vm, "/vmm.sock");
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream command(entry.path() / "cmdline");
    const std::string line{std::istreambuf_iterator<char>(command), {}};
    if (line.find(socket) != std::string::npos)
      kill(std::stoi(entry.path().filename().string()), SIGKILL);
  }
}

std::vector<std::string> Daemon::Command(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), TRAPLINE_BINARY);
  return arguments;
}

Result Daemon::Run(std::vector<std::string> arguments, std::string_view input) const {
  return RunTrapline(std::move(arguments), environment(), input);
}

Result RunTrapline(std::vector<std::string> arguments, const Environment& changes,
                   std::string_view input) {
  arguments.insert(arguments.begin(), TRAPLINE_BINARY);
  Process process(std::move(arguments), changes);
  process.Write(input);
  process.CloseStdin();
  Result result;
  result.code = process.Wait();
  result.out = process.out();
  result.err = process.err();
  return result;
}

std::string Guest(std::string_view name) {
  return absl::StrCat(TRAPLINE_GUESTS_DIR, "/", std::string(name), ".elf");
}

}  // namespace trapline::cli_test
