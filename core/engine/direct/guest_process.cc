// SPDX-License-Identifier: Apache-2.0
// Starting the program and hearing of its end.
//
// The program is part of this one's image, and is executed from a memfd: there is no file to find
// or to fall out of step. It gets an empty environment, clean signals, and its descriptors under
// the numbers that it expects.
//
// This is posix_spawn(3), but for two things that a worker which has nothing left needs. The
// program is executed by its descriptor, so that no /proc has to be there. And the pidfd comes with
// the process, so that nobody needs pidfd_open(2), which would open any other process as well.
#include "core/engine/direct/guest_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/engine/direct/program_image.h"

// glibc's clone by its other name: the thread sanitizer wraps the first one, and takes the child
// for one with memory of its own, in which it forgets about locks. NOLINTNEXTLINE(*-naming)
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

namespace trapline::engine::direct {
namespace {

absl::Status Failed(absl::string_view what, int error) {
  return absl::UnavailableError(absl::StrCat("the guest process: ", what, ": ", strerror(error)));
}

// The program's file, made once; never closed. Not among the numbers that descriptors are moved to
// before it is executed.
int ProgramFd() {
  static const int fd = [] {
    base::UniqueFd made(memfd_create("trapline-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    std::span<const std::byte> image = ProgramImage();
    if (!made.valid() ||
        write(made.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
      return -1;
    fcntl(made.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
    return fcntl(made.get(), F_DUPFD_CLOEXEC, kFdEnd);
  }();
  return fd;
}

struct Birth {
  const std::array<base::UniqueFd, std::tuple_size_v<GuestProcess::Descriptors>>& descriptors;
  int program;
  int error = 0;
};

// What the child does between clone and exec. It runs in the VMM's memory while the thread that
// made it waits, so it makes system calls alone: the C library and sanitizers keep books of what
// its functions do.
int ExecuteProgram(void* argument) {
  auto& birth = *static_cast<Birth*>(argument);
  constexpr size_t kSetSize = 8;               // the kernel's sigset_t
  const std::array<uint64_t, 4> as_default{};  // the kernel's struct sigaction
  for (int signal = 1; signal < NSIG; ++signal)
    syscall(SYS_rt_sigaction, signal, as_default.data(), nullptr, kSetSize);
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kSetSize);
  char name[] = "trapline-guest";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  bool there = true;
  for (size_t i = 0; i < birth.descriptors.size() && there; ++i)
    there = syscall(SYS_dup2, birth.descriptors[i].get(), kControlFd + i) >= 0;
  if (there) syscall(SYS_execveat, birth.program, "", arguments, environment, AT_EMPTY_PATH);
  birth.error = errno;
  syscall(SYS_exit, 127);
  return 0;
}

// Zero, or an errno. No signal is taken meanwhile: a handler would run in both at once.
int MakeProcess(Birth& birth, pid_t* pid, int* pidfd) {
  constexpr int kFlags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
  alignas(16) std::array<char, 16 << 10> stack;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  *pid = __clone(ExecuteProgram, stack.data() + stack.size(), kFlags, &birth, pidfd);
  const int error = *pid < 0 ? errno : birth.error;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

class RealProcess final : public GuestProcess {
 public:
  RealProcess(pid_t pid, base::UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  ~RealProcess() override {
    Kill();
    Reap();
  }

  int pidfd() const override { return pidfd_.get(); }
  void Kick() override { Send(kKickSignal); }
  void Kill() override { Send(SIGKILL); }
  // The signal is delivered some time after it was sent; only the wait says that it was.
  void Freeze() override {
    Send(SIGSTOP);
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT) < 0 &&
           errno == EINTR) {
    }
  }
  void Thaw() override { Send(SIGCONT); }
  std::string Reap() override {
    if (!ended_.empty()) return ended_;
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = WIFSIGNALED(status) ? absl::StrCat("was killed by signal ", WTERMSIG(status), " (",
                                                strsignal(WTERMSIG(status)), ")")
                                 : absl::StrCat("ended with status ", WEXITSTATUS(status));
    return ended_;
  }

 private:
  void Send(int signal) { syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0); }

  const pid_t pid_;
  const base::UniqueFd pidfd_;
  std::string ended_;  // how, once it was reaped
};

}  // namespace

absl::StatusOr<std::unique_ptr<GuestProcess>> GuestProcess::Start(const Descriptors& descriptors) {
  if (ProgramFd() < 0) return Failed("its program", errno);
  // Out of the way first: a descriptor may have the number that another one is to get.
  std::array<base::UniqueFd, std::tuple_size_v<Descriptors>> moved;
  for (size_t i = 0; i < descriptors.size(); ++i) {
    moved[i] = base::UniqueFd(fcntl(descriptors[i], F_DUPFD_CLOEXEC, kFdEnd));
    if (!moved[i].valid()) return Failed("its descriptors", errno);
  }
  Birth birth{moved, ProgramFd()};
  pid_t pid = 0;
  int number = -1;
  const int error = MakeProcess(birth, &pid, &number);
  base::UniqueFd pidfd(number);
  if (error != 0 && pid > 0) waitpid(pid, nullptr, 0);
  if (error != 0) return Failed("starting it", error);
  return std::make_unique<RealProcess>(pid, std::move(pidfd));
}

// ---- The watch ----

absl::StatusOr<std::unique_ptr<ProcessWatch>> ProcessWatch::Create() {
  base::UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.fd = stop.get()}};
  if (!epoll.valid() || !stop.valid() ||
      epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0)
    return Failed("watching it", errno);
  return std::unique_ptr<ProcessWatch>(new ProcessWatch(std::move(epoll), std::move(stop)));
}

ProcessWatch::ProcessWatch(base::UniqueFd epoll, base::UniqueFd stop)
    : epoll_(std::move(epoll)), stop_(std::move(stop)), thread_([this] { Main(); }) {}

ProcessWatch::~ProcessWatch() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

absl::Status ProcessWatch::Add(int pidfd, std::function<void()> on_end) {
  absl::MutexLock lock(&mutex_);
  epoll_event event{.events = EPOLLIN, .data = {.fd = pidfd}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pidfd, &event) != 0)
    return Failed("watching it", errno);
  watched_[pidfd] = std::move(on_end);
  return absl::OkStatus();
}

void ProcessWatch::Remove(int pidfd) {
  absl::MutexLock lock(&mutex_);
  if (watched_.erase(pidfd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, pidfd, nullptr);
}

void ProcessWatch::Main() {
  for (;;) {
    epoll_event event;
    if (epoll_wait(epoll_.get(), &event, 1, -1) < 1) continue;
    if (event.data.fd == stop_.get()) return;
    absl::MutexLock lock(&mutex_);
    auto watched = watched_.find(event.data.fd);
    // Perhaps another process has that number by now.
    pollfd now{.fd = event.data.fd, .events = POLLIN, .revents = 0};
    if (watched == watched_.end() || poll(&now, 1, 0) != 1) continue;
    std::function<void()> on_end = std::move(watched->second);
    watched_.erase(watched);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, event.data.fd, nullptr);
    on_end();
  }
}

}  // namespace trapline::engine::direct
