// SPDX-License-Identifier: Apache-2.0
// Leaving namespaces, as whoever the daemon is.
//
// Without privileges only a user namespace can be made, and the others inside of it. So for such a
// daemon the shared ones come with a user namespace too. A daemon of root's makes the shared ones
// as root, because a process that has entered a user namespace no longer reads files of other
// users', which the daemon's images may be.
//
// Some hosts let anybody make a user namespace in which nothing is allowed then, not even to say
// who one is (AppArmor's restriction of unprivileged user namespaces). There is no way back from
// one, so a child tries first, once for all workers.
//
// There is no PID namespace: its first process is process 1, which signals of its own, such as
// abort(), do not end. The system-call filter keeps signals inside the process.
#include "daemon/vmm/confinement/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {
namespace {

struct Kind {
  int flag;
  const char* name;
};
constexpr Kind kKinds[] = {{CLONE_NEWUSER, "user"}, {CLONE_NEWNS, "mount"},
                           {CLONE_NEWIPC, "IPC"},   {CLONE_NEWNET, "network"},
                           {CLONE_NEWUTS, "UTS"},   {CLONE_NEWCGROUP, "cgroup"}};

bool Write(const char* path, std::string_view text) {
  base::UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd.valid() &&
         write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// A user namespace in which this user is who it is, and nobody else is anybody.
bool EnterUserNamespace() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  return unshare(CLONE_NEWUSER) == 0 && Write("/proc/self/setgroups", "deny") &&
         Write("/proc/self/uid_map", absl::StrCat(uid, " ", uid, " 1")) &&
         Write("/proc/self/gid_map", absl::StrCat(gid, " ", gid, " 1"));
}

// Zero, or the errno that it fails with.
int TryUserNamespace() {
  pid_t child = fork();
  if (child == 0) _exit(EnterUserNamespace() ? 0 : errno);
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (child < 0) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

}  // namespace

void Namespaces::LeaveShared() {
  user_error_ = TryUserNamespace();
  const int user = geteuid() == 0 ? 0 : CLONE_NEWUSER;
  Leave(user | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP);
}

void Namespaces::LeaveOwn() { Leave(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC); }

void Namespaces::Leave(int flags) {
  for (const Kind& kind : kKinds) {
    if ((flags & kind.flag) == 0) continue;
    int error = 0;
    if (kind.flag == CLONE_NEWUSER) {
      error = user_error_;
      if (error == 0 && !EnterUserNamespace()) error = errno;
    } else if (unshare(kind.flag) != 0) {
      error = errno;
    }
    if (error != 0) {
      kept_.push_back(absl::StrCat(kind.name, " (", strerror(error), ")"));
      continue;
    }
    if (std::find(left_.begin(), left_.end(), kind.name) == left_.end())
      left_.emplace_back(kind.name);
    has_mounts_ = has_mounts_ || kind.flag == CLONE_NEWNS;
  }
}

Measure Namespaces::measure() const {
  std::string detail = left_.empty() ? "none" : absl::StrJoin(left_, ", ");
  if (kept_.empty()) return MakeMeasure("namespaces", Measure::APPLIED, detail);
  return MakeMeasure("namespaces", Measure::UNAVAILABLE,
                     absl::StrCat(detail, "; not ", absl::StrJoin(kept_, ", ")));
}

}  // namespace trapline::daemon
