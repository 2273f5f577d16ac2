// SPDX-License-Identifier: Apache-2.0
// Starting, adopting and burying workers.
#include "daemon/control/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"
#include "grpcpp/create_channel.h"

namespace trapline::daemon {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(10);
constexpr int kAnswerMilliseconds = 2000;

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status))
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        ")");
  return absl::StrCat("exited with ", WEXITSTATUS(status));
}

// True once somebody accepts connections there: a file alone may be one that nobody listens on yet.
bool Serves(const std::string& socket_path) {
  base::UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!probe.valid() || socket_path.size() >= sizeof address.sun_path) return false;
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  return connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

std::string WorkerSocket(const std::string& directory) { return directory + "/vmm.sock"; }
std::string StatsPath(const std::string& directory) { return directory + "/stats"; }

WorkerProcess::WorkerProcess(pid_t pid, bool child, const std::string& socket)
    : pid_(pid), child_(child) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(32 << 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 5);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  // Channels to equal targets share a connection unless told otherwise, and a directory may see
  // several workers.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  stub_ = worker::v1::Worker::NewStub(
      grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments));
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Start(const WorkerOptions& options) {
  std::string socket = WorkerSocket(options.directory);
  unlink(socket.c_str());
  std::vector<std::string> words = {options.program, "--socket", socket, "--log-level",
                                    options.log_level};
  if (options.log_json) words.emplace_back("--log-json");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  // The worker starts with no signal blocked or ignored, in a process group of its own, so that
  // Ctrl-C is for the daemon alone.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  int error =
      posix_spawn(&pid, options.program.c_str(), nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0)
    return absl::UnavailableError(
        absl::StrCat("starting ", options.program, ": ", strerror(error)));

  auto worker = std::unique_ptr<WorkerProcess>(new WorkerProcess(pid, true, socket));
  auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (!Serves(socket)) {
    int status;
    if (waitpid(pid, &status, WNOHANG) == pid) {
      worker->reaped_ = true;
      return absl::UnavailableError(
          absl::StrCat("the worker ", HowItEnded(status), " before it served"));
    }
    if (std::chrono::steady_clock::now() > deadline)
      return absl::UnavailableError("the worker did not serve in time");
    usleep(500);
  }
  return worker;
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Adopt(const std::string& directory) {
  std::string socket = WorkerSocket(directory);
  if (access(socket.c_str(), F_OK) != 0) return absl::NotFoundError("no worker serves there");
  auto worker = std::unique_ptr<WorkerProcess>(new WorkerProcess(0, false, socket));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(kAnswerMilliseconds));
  worker::v1::Status status;
  if (!worker->stub_->GetStatus(&context, {}, &status).ok()) {
    worker->reaped_ = true;
    return absl::NotFoundError("no worker answers there");
  }
  worker->pid_ = status.pid();
  return worker;
}

WorkerProcess::~WorkerProcess() {
  if (left_ || reaped_) return;
  Kill(SIGKILL);
  Reap();
}

void WorkerProcess::Kill(int signal) {
  if (!reaped_ && pid_ > 1) kill(pid_, signal);
}

std::string WorkerProcess::Reap() {
  if (reaped_) return "ended";
  reaped_ = true;
  if (!child_) return "ended";
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  return HowItEnded(status);
}

}  // namespace trapline::daemon
