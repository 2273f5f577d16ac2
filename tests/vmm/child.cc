// SPDX-License-Identifier: Apache-2.0
// A fork, and a wait.
#include "tests/vmm/child.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trapline::daemon {

int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) syscall(SYS_exit_group, body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace trapline::daemon
