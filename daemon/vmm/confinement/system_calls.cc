// SPDX-License-Identifier: Apache-2.0
// From a list to a filter of the kernel's, and the filter's installation.
//
// On engine soft a call that is not allowed kills the worker. On engine direct it raises SIGSYS,
// which nobody takes in a worker, so that it dies as well; but guest processes inherit the filter,
// and there SIGSYS is how a guest's own `syscall` becomes its fault. A filter that kills would win.
// The call is not made either way. While a worker starts its engine is not known yet.
//
// libseccomp compiles: it knows the numbers, and orders the comparisons. Compiled filters are kept,
// for the zygote to hand down to all workers.
#include "daemon/vmm/confinement/system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"
#include "daemon/vmm/confinement/call_lists.h"

namespace trapline::daemon {
namespace {

absl::Status Failed(absl::string_view what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(error)));
}

uint32_t ActionOf(CallRole role) {
  const bool kill = role == CallRole::kServing || role == CallRole::kVcpu;
  return kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_TRAP;
}

// Zero, or a negative errno.
int Fill(scmp_filter_ctx context, const CallList& list, uint32_t action) {
  // Of another architecture's calls, which `int $0x80` makes.
  int error = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, action);
  for (const CallRule& rule : list.allowed) {
    if (error != 0) return error;
    error = rule.argument
                ? seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.call, 1, &*rule.argument)
                : seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.call, 0, nullptr);
  }
  for (const CallList::Refusal& refusal : list.refused) {
    if (error != 0) return error;
    error = seccomp_rule_add_array(context, SCMP_ACT_ERRNO(static_cast<uint16_t>(refusal.error)),
                                   refusal.call, 0, nullptr);
  }
  return error;
}

absl::Status InstallProgram(const std::vector<sock_filter>& program, unsigned flags) {
  const sock_fprog words{static_cast<unsigned short>(program.size()),
                         const_cast<sock_filter*>(program.data())};
  const long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &words);
  if (failed == 0) return absl::OkStatus();
  if (failed > 0) return absl::UnavailableError(absl::StrCat("thread ", failed, " cannot follow"));
  return Failed("seccomp", errno);
}

}  // namespace

absl::StatusOr<CallFilter> CallFilter::Compile(CallRole role) {
  const uint32_t action = ActionOf(role);
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(action), seccomp_release);
  if (!context) return Failed("libseccomp", ENOMEM);
  if (int error = Fill(context.get(), CallsOf(role), action); error != 0)
    return Failed("a rule of the system-call filter", -error);
  // The longest program that the kernel takes is half of what a pipe holds.
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failed("compiling the system-call filter", errno);
  base::UniqueFd from(ends[0]), to(ends[1]);
  if (int error = seccomp_export_bpf(context.get(), to.get()); error != 0)
    return Failed("compiling the system-call filter", -error);
  CallFilter filter;
  filter.program_.resize(BPF_MAXINSNS);
  const ssize_t size = read(from.get(), filter.program_.data(), BPF_MAXINSNS * sizeof(sock_filter));
  if (size <= 0) return Failed("reading the system-call filter", errno);
  filter.program_.resize(static_cast<size_t>(size) / sizeof(sock_filter));
  filter.program_.shrink_to_fit();
  return filter;
}

absl::Status CallFilter::Install(bool all_threads) const {
  return InstallProgram(program_, all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0);
}

absl::Status KeepSignalsInside() {
  constexpr uint32_t kNumber = offsetof(seccomp_data, nr), kProcess = offsetof(seccomp_data, args);
  return InstallProgram(
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kProcess),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(getpid()), 1, 0),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      0);
}

}  // namespace trapline::daemon
