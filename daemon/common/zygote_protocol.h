// SPDX-License-Identifier: Apache-2.0
// What traplined, the zygote and a worker that comes into being say to each other.
//
// A request is one SOCK_SEQPACKET message from the daemon to the zygote: the path of the socket
// that the worker shall serve on, those of the files that its VM is made from (worker_files.h),
// each behind a zero byte, and one descriptor (SCM_RIGHTS), the worker's end of a SOCK_SEQPACKET
// pair. What comes back on that pair is Birth messages: one from the zygote, with the pid, and one
// from the worker, when it serves. End of file before that says that there will be no worker; a
// worker whose message finds nobody there ends.
#pragma once

#include <limits.h>

#include <cstddef>
#include <cstdint>

namespace trapline::daemon {

struct Birth {
  int32_t pid;     // the worker's; or minus an errno: it could not be made
  int32_t serves;  // 1: it accepts connections
};

constexpr size_t kMaxZygoteRequest = size_t{4} * PATH_MAX;  // the socket and three files
// The descriptor that a program which the daemon starts finds its end of a pair at.
constexpr int kInheritedFd = 3;

}  // namespace trapline::daemon
