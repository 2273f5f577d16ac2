// SPDX-License-Identifier: Apache-2.0
// The lists, by what the calls are for. They were found by tracing workers through their lives on
// both engines, and by reading what glibc, gRPC and Abseil do where that never came to pass.
//
// What no filter can tell apart it must not need to: clone3(2) has its flags in memory, so it is
// said not to be there, and glibc uses clone(2); pidfd_open(2) would open any process, so guest
// processes come with theirs; signals go to this process alone (system_calls.cc). Comparisons are
// of 64 bits, of which the kernel may take 32: they name what is allowed, never what is not.
#include "daemon/vmm/confinement/call_lists.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <initializer_list>

namespace trapline::daemon {
namespace {

// A guest process's way from clone to its own filter (core/engine/direct).
constexpr unsigned long kMakeGuest = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
constexpr unsigned long kGuestSpaces =
    CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
// SO_PASSPIDFD, the first of those options (Linux 6.5, include/uapi/asm-generic/socket.h) by which
// a socket hands out a pidfd of whoever is at its other end.
constexpr unsigned long kFirstPidfdOption = 76;

class Lists {
 public:
  void Allow(std::initializer_list<int> calls) {
    for (int call : calls) list_.allowed.push_back({call, {}});
  }
  void AllowIf(int call, const scmp_arg_cmp& argument) {
    list_.allowed.push_back({call, argument});
  }
  void Refuse(std::initializer_list<int> calls, int error) {
    for (int call : calls) list_.refused.push_back({call, error});
  }
  CallList Done() { return std::move(list_); }

 private:
  CallList list_;
};

// What any code of ours and of the libraries may come to.
void Common(Lists& lists) {
  // Memory, and waiting for each other, in which Abseil's mutexes consider who has which priority.
  lists.Allow({SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap),
               SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(membarrier),
               SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler)});
  // Time and chance. The clocks are read without a system call, where the host allows.
  lists.Allow({SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep),
               SCMP_SYS(nanosleep), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
               SCMP_SYS(getrandom), SCMP_SYS(getcpu), SCMP_SYS(sysinfo)});
  // Ends, good and bad, and what is said before.
  lists.Allow({SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn),
               SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall), SCMP_SYS(tgkill),
               SCMP_SYS(getpid), SCMP_SYS(gettid)});
  // The stats file grows with the sites; a vCPU's delay is read from a file that is open; the
  // search for symbols asks which parts of guest RAM there are.
  lists.Allow({SCMP_SYS(fallocate), SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(close)});
  // Code that the soft engine makes lies in such a file.
  lists.Allow({SCMP_SYS(memfd_create), SCMP_SYS(ftruncate)});
}

// Files can be opened no more, but malloc and Abseil try, to learn of the host's ways with memory
// and of its processors, whenever they happen to want to know. They take no for an answer.
void NoFiles(Lists& lists) {
  lists.Refuse({SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat),
                SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat),
                SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat)},
               EACCES);
  lists.Refuse({SCMP_SYS(ioctl)}, ENOTTY);
}

// But not whom a descriptor's news are signalled to, which may be any process of this user's.
void Descriptors(Lists& lists) {
  for (unsigned long command : {F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_ADD_SEALS})
    lists.AllowIf(SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, command));
}

// Making a guest process, and all that it does before it has a filter of its own.
void GuestProcesses(Lists& lists) {
  lists.AllowIf(SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_EQ, kMakeGuest));
  lists.AllowIf(SCMP_SYS(execveat), SCMP_A4_64(SCMP_CMP_EQ, AT_EMPTY_PATH));
  lists.AllowIf(SCMP_SYS(unshare), SCMP_A0_64(SCMP_CMP_EQ, kGuestSpaces));
  for (unsigned long option : {PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE, PR_SET_PDEATHSIG})
    lists.AllowIf(SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, option));
  lists.Allow({SCMP_SYS(dup2), SCMP_SYS(close_range), SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),
               SCMP_SYS(arch_prctl), SCMP_SYS(capset), SCMP_SYS(getppid), SCMP_SYS(seccomp)});
  lists.AllowIf(SCMP_SYS(prlimit64), SCMP_A0_64(SCMP_CMP_EQ, 0));  // its own limits
  // Its program, its descriptors, its end.
  Descriptors(lists);
  lists.Allow({SCMP_SYS(write), SCMP_SYS(epoll_ctl), SCMP_SYS(wait4), SCMP_SYS(waitid),
               SCMP_SYS(pidfd_send_signal)});
}

// gRPC's threads and the VM's other ones.
void Serving(Lists& lists) {
  lists.Allow({SCMP_SYS(accept4), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
               SCMP_SYS(recvfrom), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
               SCMP_SYS(getpeername)});
  lists.Allow({SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
               SCMP_SYS(epoll_pwait), SCMP_SYS(poll), SCMP_SYS(eventfd2), SCMP_SYS(read),
               SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(fstat)});
  for (int call : {SCMP_SYS(getsockopt), SCMP_SYS(setsockopt)})
    lists.AllowIf(call, SCMP_A2_64(SCMP_CMP_LT, kFirstPidfdOption));
  Descriptors(lists);
  // New threads, of this process alone.
  lists.AllowIf(SCMP_SYS(clone),
                SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
  lists.Refuse({SCMP_SYS(clone3)}, ENOSYS);
  lists.Allow({SCMP_SYS(set_robust_list), SCMP_SYS(rseq)});
  // A vCPU's thread takes its own filter later. abort(3) resets its signal.
  lists.Allow({SCMP_SYS(seccomp), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigtimedwait)});
  lists.AllowIf(SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, PR_SET_NAME));
  // The socket, at the end.
  lists.Allow({SCMP_SYS(unlink)});
}

// From here on there are image loaders to be fooled, but files are still to be opened.
void Starting(Lists& lists) {
  lists.Allow({SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(uname)});
  lists.AllowIf(SCMP_SYS(socket), SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));
  lists.AllowIf(SCMP_SYS(socket), SCMP_A0_64(SCMP_CMP_EQ, AF_INET));  // gRPC asks it what it can do
  lists.Allow({SCMP_SYS(openat), SCMP_SYS(newfstatat), SCMP_SYS(getdents64)});
  lists.Refuse(
      {SCMP_SYS(open), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(access),
       SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat)},
      EACCES);
  lists.Refuse({SCMP_SYS(ioctl)}, ENOTTY);
}

// To standard error, which the log goes to.
void Log(Lists& lists) {
  for (int call : {SCMP_SYS(write), SCMP_SYS(writev)})
    lists.AllowIf(call, SCMP_A0_64(SCMP_CMP_EQ, STDERR_FILENO));
}

}  // namespace

CallList CallsOf(CallRole role) {
  Lists lists;
  Common(lists);
  switch (role) {
    case CallRole::kStarting:
      Serving(lists);
      GuestProcesses(lists);
      Starting(lists);
      break;
    case CallRole::kServing:
      Serving(lists);
      NoFiles(lists);
      break;
    case CallRole::kServingDirect:
      Serving(lists);
      GuestProcesses(lists);
      NoFiles(lists);
      break;
    case CallRole::kVcpu:
      Log(lists);
      NoFiles(lists);
      break;
    case CallRole::kVcpuDirect:
      GuestProcesses(lists);
      NoFiles(lists);
      break;
  }
  return lists.Done();
}

}  // namespace trapline::daemon
