// SPDX-License-Identifier: Apache-2.0
// Starting, adopting and burying workers.
#include "daemon/control/worker_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/unique_fd.h"
#include "daemon/common/zygote_protocol.h"
#include "daemon/control/worker_context.h"
#include "grpcpp/create_channel.h"

namespace trapline::daemon {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(10);
// For one that is ending by itself, to say how.
constexpr absl::Duration kDyingTimeout = absl::Seconds(1);
constexpr int kHandshakeMilliseconds = 20'000, kMaxPollMilliseconds = 60'000;

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
    return "killed by the kernel for a system call that its filter does not allow (signal 31)";
  if (WIFSIGNALED(status))
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        ")");
  return absl::StrCat("exited with ", WEXITSTATUS(status));
}

// What came of the attempt to make a worker. pid is zero as long as nobody has said it.
struct Newborn {
  pid_t pid = 0;
  bool serves = false;
  bool late = false;  // it may yet serve, but was not waited for longer
  int error = 0;      // an errno: it could not be made
};

// Follows what is said on the pair until the worker serves, or all who could say it are gone, or
// the time is over.
void AwaitServing(int ready, Newborn* newborn) {
  auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (!newborn->serves) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{ready, POLLIN, 0};
    int polled = left.count() <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left.count()));
    if (polled < 0 && errno == EINTR) continue;
    Birth birth;
    newborn->late = polled == 0;
    if (polled <= 0 || recv(ready, &birth, sizeof birth, 0) != sizeof birth) return;
    if (birth.pid <= 0) {
      newborn->error = -birth.pid;
      return;
    }
    newborn->pid = birth.pid;
    newborn->serves = birth.serves != 0;
  }
}

// By the zygote; a newborn of no pid where that came to nothing.
Newborn Fork(Zygote& zygote, const std::string& socket, const std::vector<std::string>& files) {
  Newborn newborn;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return newborn;
  base::UniqueFd ours(pair[0]), theirs(pair[1]);
  if (!zygote.Ask(socket, files, theirs.get())) return newborn;
  theirs.Reset();
  AwaitServing(ours.get(), &newborn);
  if (newborn.pid != 0) {
    zygote.Succeeded();
  } else {
    zygote.Failed();
  }
  return newborn;
}

// The process that listens on that socket; zero: nobody does.
pid_t PeerOf(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) return 0;
  memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!fd.valid() ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return 0;
  return peer.pid;
}

Newborn SpawnOne(const WorkerOptions& options, const std::string& socket,
                 const std::vector<std::string>& files) {
  Newborn newborn;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    newborn.error = errno;
    return newborn;
  }
  base::UniqueFd ours(pair[0]), theirs(pair[1]);
  std::vector<std::string> words = options.words;
  words.insert(words.end(), {"--socket", socket, "--tell"});
  for (const std::string& file : files) words.insert(words.end(), {"--file", file});
  newborn.error = Spawn(words, theirs.get(), nullptr, &newborn.pid);
  theirs.Reset();
  if (newborn.error == 0) AwaitServing(ours.get(), &newborn);
  return newborn;
}

}  // namespace

std::string WorkerSocket(const std::string& directory) { return directory + "/vmm.sock"; }
std::string StatsPath(const std::string& directory) { return directory + "/stats"; }

WorkerProcess::WorkerProcess(pid_t pid, bool child, const std::string& socket)
    : pid_(pid), child_(child), pidfd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(32 << 20);
  // This one is how long a worker that is busy or stopped may take to shake hands.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kHandshakeMilliseconds);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 5);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  // Channels to equal targets share a connection unless told otherwise, and a directory may see
  // several workers.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // No pings, and no timer for them: without this there is one, set for 24 days, and gRPC 1.51
  // keeps the connection of a worker that is gone until it goes off where a last write fails.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, std::numeric_limits<int>::max());
  stub_ = worker::v1::Worker::NewStub(
      grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments));
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Start(
    const WorkerOptions& options, const std::vector<std::string>& files) {
  std::string socket = WorkerSocket(options.directory);
  unlink(socket.c_str());
  Newborn newborn;
  if (options.zygote) newborn = Fork(*options.zygote, socket, files);
  if (newborn.pid == 0) newborn = SpawnOne(options, socket, files);
  if (newborn.error != 0)
    return absl::UnavailableError(
        absl::StrCat("starting ", options.words[0], ": ", strerror(newborn.error)));
  auto worker = std::unique_ptr<WorkerProcess>(new WorkerProcess(newborn.pid, true, socket));
  if (newborn.serves) return worker;
  if (newborn.late || !worker->AwaitEnd(kDyingTimeout)) worker->Kill(SIGKILL);
  std::string how = worker->Reap();
  if (newborn.late) return absl::UnavailableError("the worker did not serve in time");
  return absl::UnavailableError(
      absl::StrCat("the worker ", how, " before it served; the daemon's log has its last words"));
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Adopt(
    const std::string& directory, std::optional<worker::v1::Status>* status) {
  std::string socket = WorkerSocket(directory);
  pid_t pid = PeerOf(socket);
  if (pid == 0) return absl::NotFoundError("no worker serves there");
  auto worker = std::unique_ptr<WorkerProcess>(new WorkerProcess(pid, false, socket));
  WorkerContext context(kWorkerStatus);
  context.set_wait_for_ready(true);
  worker::v1::Status answer;
  if (worker->stub_->GetStatus(&context, {}, &answer).ok()) *status = std::move(answer);
  return worker;
}

WorkerProcess::~WorkerProcess() {
  if (left_ || reaped_) return;
  Kill(SIGKILL);
  Reap();
}

void WorkerProcess::Kill(int signal) {
  if (reaped_ || pid_ <= 1) return;
  if (child_) {
    kill(pid_, signal);
  } else if (pidfd_.valid()) {
    syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
  }
}

bool WorkerProcess::AwaitEnd(absl::Duration timeout) {
  if (reaped_ || !pidfd_.valid()) return true;
  const absl::Time deadline = absl::Now() + timeout;
  pollfd ended{pidfd_.get(), POLLIN, 0};
  for (;;) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    const int wait = static_cast<int>(std::clamp<int64_t>(left, 0, kMaxPollMilliseconds));
    const int polled = poll(&ended, 1, wait);
    if (polled > 0) return true;
    if (polled == 0 && left <= kMaxPollMilliseconds) return false;
  }
}

std::string WorkerProcess::Reap() {
  if (reaped_) return "ended";
  if (!child_) {
    AwaitEnd(absl::InfiniteDuration());
    reaped_ = true;
    return "ended; how is not known, as an earlier daemon started it";
  }
  reaped_ = true;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  return HowItEnded(status);
}

}  // namespace trapline::daemon
