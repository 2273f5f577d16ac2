// SPDX-License-Identifier: Apache-2.0
// The zygote: a trapline-vmm that has been loaded and has done nothing yet.
//
// Loading trapline-vmm costs more than anything else on the way to a VM: sixty shared libraries are
// mapped, fifty thousand relocations made, the time-stamp counter is measured. So traplined starts
// one such process, which does all that once, binds every symbol (LD_BIND_NOW, which the daemon
// sets), and then waits. A fork of it is a worker at once, and the pages that the relocations
// dirtied are shared by all workers.
//
// Why that is sound:
//   - It has one thread, or it refuses: gRPC, which starts threads, is first touched by the worker.
//     So no lock is held and no state half changed when it forks.
//   - CLONE_PARENT makes the worker the daemon's own child, as if the daemon had spawned it: the
//     daemon waits for it, and its life does not depend on the zygote's. glibc's fork has no such
//     flag, so the system call is made here, with the one thing that glibc's has to do in a process
//     of one thread: the kernel writes the child's thread id where glibc keeps it, which is the
//     address that the kernel knows for clearing it (PR_GET_TID_ADDRESS).
//   - It was spawned with no signal blocked or ignored and holds three descriptors of its own and
//     one end of the daemon's pair. A worker gets the three and the end of a pair of its own.
//   - The daemon's end of its pair closes when the daemon ends, however that happens; then the
//     zygote reads end of file and ends.
//   - Without it the daemon starts workers the plain way (daemon/control/worker_process.cc).
//
// What it costs: all workers of one zygote have one address space layout, and one stack guard, so
// who has broken into one knows where things are in the others. `traplined --workers spawn` gives
// each its own, and takes some 20 ms more for each.
//
// A pool of workers ready to be used would be quicker still for the first few VMs, but would hold
// their memory, would not share the relocated pages, and would be dry when many VMs come at once.
#include "daemon/vmm/zygote.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "absl/strings/str_split.h"
#include "core/base/cycles.h"
#include "daemon/common/logging.h"
#include "daemon/common/zygote_protocol.h"

namespace trapline::daemon {
namespace {

bool Send(int fd, const Birth& birth) {
  return send(fd, &birth, sizeof birth, MSG_NOSIGNAL) == sizeof birth;
}

// The next request; none at end of file. One without its descriptor is none of the daemon's.
std::optional<WorkerTask> Receive(int control) {
  std::array<char, kMaxZygoteRequest> paths;
  iovec part{paths.data(), paths.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> rights;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = rights.data();
  message.msg_controllen = rights.size();
  ssize_t size;
  while ((size = recvmsg(control, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (size <= 0 || !header || header->cmsg_type != SCM_RIGHTS) return std::nullopt;
  int ready;
  memcpy(&ready, CMSG_DATA(header), sizeof ready);
  WorkerTask task{"",
                  absl::StrSplit(absl::string_view(paths.data(), static_cast<size_t>(size)), '\0'),
                  base::UniqueFd(ready)};
  task.socket = task.files.front();
  task.files.erase(task.files.begin());
  return task;
}

// As glibc's fork, but for the parent. Zero in the child; minus an errno.
pid_t ForkSibling(int* tid) {
  long pid = syscall(SYS_clone, CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                     nullptr, nullptr, tid, nullptr);
  return pid < 0 ? -errno : static_cast<pid_t>(pid);
}

// Writes the words over those that the program was started with, for ps and /proc.
void SetArguments(int argc, char** argv, const std::string& program, const std::string& socket) {
  std::string words = program + '\0' + "--socket" + '\0' + socket;
  char* end = argv[argc - 1] + strlen(argv[argc - 1]);
  size_t room = static_cast<size_t>(end - argv[0]);
  size_t taken = std::min(room, words.size());
  memcpy(argv[0], words.data(), taken);
  memset(argv[0] + taken, 0, room - taken);
}

bool HasOneThread() {
  std::error_code error;
  std::filesystem::directory_iterator tasks("/proc/self/task", error), end;
  return !error && tasks != end && ++tasks == end;
}

}  // namespace

std::optional<WorkerTask> RunZygote(base::UniqueFd control, int argc, char** argv) {
  unsetenv("LD_BIND_NOW");
  int* tid = nullptr;
  if (!HasOneThread() || prctl(PR_GET_TID_ADDRESS, &tid) != 0) {
    Log(spdlog::level::debug, "workers cannot be forked here; each is started by itself");
    return std::nullopt;
  }
  const std::string program = argv[0];
  base::HostCyclesPerSecond();
  prctl(PR_SET_NAME, "trapline-zygote");
  while (auto task = Receive(control.get())) {
    pid_t pid = ForkSibling(tid);
    if (pid != 0) {
      Send(task->ready.get(), {pid, 0});
      continue;
    }
    control.Reset();
    setpgid(0, 0);
    prctl(PR_SET_NAME, "trapline-vmm");
    SetArguments(argc, argv, program, task->socket);
    return task;
  }
  return std::nullopt;
}

bool TellServing(const base::UniqueFd& ready) { return Send(ready.get(), {getpid(), 1}); }

}  // namespace trapline::daemon
