// SPDX-License-Identifier: Apache-2.0
// What each role's filter lets through, and what becomes of a thread that calls anything else.
#include "daemon/vmm/confinement/system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "tests/vmm/child.h"

namespace trapline::daemon {
namespace {

// Linux 6.5; Debian 12's headers are older.
constexpr long kSoPassPidfd = 76, kSoPeerPidfd = 77;

constexpr CallRole kRoles[] = {CallRole::kStarting, CallRole::kServing, CallRole::kServingDirect,
                               CallRole::kVcpu, CallRole::kVcpuDirect};

#ifdef TRAPLINE_SANITIZED
constexpr bool kHasSanitizers = true;
#else
constexpr bool kHasSanitizers = false;
#endif

class SystemCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kHasSanitizers) GTEST_SKIP() << "sanitizers make calls of their own";
  }
};

// What becomes of a child that makes this call in this role: 0, or the errno that it got; minus the
// signal that killed it.
int Calls(CallRole role, long call, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return InChild([=] {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto filter = CallFilter::Compile(role);
    if (!filter.ok() || !KeepSignalsInside().ok() || !filter->Install(false).ok()) return 255;
    return syscall(call, a, b, c, d, e) < 0 ? errno : 0;
  });
}

long Word(const void* pointer) { return reinterpret_cast<long>(pointer); }

TEST_F(SystemCallsTest, NobodyReachesTheHost) {
  char name[] = "/bin/true";
  char* arguments[] = {name, nullptr};
  for (CallRole role : kRoles) {
    SCOPED_TRACE(static_cast<int>(role));
    EXPECT_EQ(Calls(role, SYS_execve, Word(name), Word(arguments), 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_ptrace, PTRACE_TRACEME), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_process_vm_readv, 1), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_kill, getppid(), 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_pidfd_open, getppid()), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_tgkill, getpid(), getpid(), 0), -SIGSYS) << "not the child's own";
    EXPECT_EQ(Calls(role, SYS_prlimit64, getppid(), RLIMIT_CORE), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_fcntl, STDIN_FILENO, F_SETOWN, getppid()), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_fcntl, STDIN_FILENO, F_SETSIG, SIGKILL), -SIGSYS);
    for (long option : {kSoPassPidfd, kSoPeerPidfd, kSoPeerPidfd | 1L << 32}) {
      EXPECT_EQ(Calls(role, SYS_getsockopt, -1, SOL_SOCKET, option), -SIGSYS);
      EXPECT_EQ(Calls(role, SYS_setsockopt, -1, SOL_SOCKET, option), -SIGSYS);
    }
    EXPECT_EQ(Calls(role, SYS_socket, AF_NETLINK, SOCK_RAW, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_socket, AF_INET6, SOCK_STREAM, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_connect, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_mount), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_bpf), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_io_uring_setup, 1), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_userfaultfd), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_unshare, CLONE_NEWNS), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_setuid, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_clone, SIGCHLD), -SIGSYS) << "a fork";
    EXPECT_EQ(Calls(role, 100'000), -SIGSYS) << "a call that there is not";
  }
}

TEST_F(SystemCallsTest, OnlyWhoStartsOpensFiles) {
  const char* file = "/etc/passwd";
  EXPECT_EQ(Calls(CallRole::kStarting, SYS_openat, AT_FDCWD, Word(file), O_RDONLY), 0);
  EXPECT_EQ(Calls(CallRole::kStarting, SYS_socket, AF_UNIX, SOCK_STREAM, 0), 0);
  for (CallRole role : kRoles) {
    if (role == CallRole::kStarting) continue;
    SCOPED_TRACE(static_cast<int>(role));
    EXPECT_EQ(Calls(role, SYS_openat, AT_FDCWD, Word(file), O_RDONLY), EACCES);
    EXPECT_EQ(Calls(role, SYS_newfstatat, AT_FDCWD, Word(file), 0, 0), EACCES);
    EXPECT_EQ(Calls(role, SYS_socket, AF_UNIX, SOCK_STREAM, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_bind, 0), -SIGSYS);
  }
}

TEST_F(SystemCallsTest, AVcpuSpeaksToNobodyAndMakesNoThread) {
  for (CallRole role : {CallRole::kVcpu, CallRole::kVcpuDirect}) {
    SCOPED_TRACE(static_cast<int>(role));
    for (long call : {SYS_accept4, SYS_recvmsg, SYS_sendmsg, SYS_epoll_wait, SYS_read, SYS_unlink})
      EXPECT_EQ(Calls(role, call, -1), -SIGSYS) << call;
    EXPECT_EQ(Calls(role, SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND), -SIGSYS);
  }
  EXPECT_EQ(Calls(CallRole::kVcpu, SYS_write, STDOUT_FILENO, Word(""), 0), -SIGSYS);
  EXPECT_EQ(Calls(CallRole::kVcpu, SYS_write, STDERR_FILENO, Word(""), 0), 0);
}

TEST_F(SystemCallsTest, OnlyEngineDirectMakesProcesses) {
  // Of no descriptor, so that nothing comes of them: EBADF says that the call was made.
  for (CallRole role : {CallRole::kServingDirect, CallRole::kVcpuDirect}) {
    EXPECT_EQ(Calls(role, SYS_execveat, -1, Word(""), 0, 0, AT_EMPTY_PATH), EBADF);
    EXPECT_EQ(Calls(role, SYS_execveat, -1, Word("true"), 0, 0, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_pidfd_send_signal, -1, 0, 0, 0), EBADF);
  }
  for (CallRole role : {CallRole::kServing, CallRole::kVcpu}) {
    EXPECT_EQ(Calls(role, SYS_execveat, -1, Word(""), 0, 0, AT_EMPTY_PATH), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_pidfd_send_signal, -1, 0, 0, 0), -SIGSYS);
    EXPECT_EQ(Calls(role, SYS_wait4, -1, 0, 0, 0), -SIGSYS);
  }
}

// By `int $0x80`, whose call 20 is getpid.
TEST_F(SystemCallsTest, TheCallsOfAnotherArchitectureAreNone) {
  for (CallRole role : kRoles) {
    EXPECT_EQ(InChild([role] {
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if (!CallFilter::Compile(role)->Install(false).ok()) return 1;
                long number = 20;
                asm volatile("int $0x80" : "+a"(number) : : "memory");
                return 2;
              }),
              -SIGSYS);
  }
}

TEST_F(SystemCallsTest, AbortIsStillAnAbort) {
  for (CallRole role : kRoles) {
    EXPECT_EQ(InChild([role]() -> int {
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if (!KeepSignalsInside().ok() || !CallFilter::Compile(role)->Install(false).ok())
                  return 1;
                abort();
              }),
              -SIGABRT);
  }
}

TEST_F(SystemCallsTest, AThreadOfAServingProcessNarrowsItselfFurther) {
  EXPECT_EQ(InChild([] {
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
              auto serving = CallFilter::Compile(CallRole::kServing);
              auto vcpu = CallFilter::Compile(CallRole::kVcpu);
              if (!serving->Install(false).ok()) return 1;
              int result = 2;
              std::thread thread([&] {
                if (!vcpu->Install(false).ok()) return;
                const bool works = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                                        0) != MAP_FAILED;
                if (works) result = 0;
              });
              thread.join();
              if (result != 0) return result;
              std::thread([&] {
                if (vcpu->Install(false).ok()) syscall(SYS_recvmsg, -1, 0, 0);
              }).join();
              return 3;
            }),
            -SIGSYS);
}

TEST_F(SystemCallsTest, AllThreadsFollowWhereAsked) {
  EXPECT_EQ(InChild([] {
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
              auto serving = CallFilter::Compile(CallRole::kServing);
              int words[2];
              if (pipe2(words, O_CLOEXEC) != 0) return 1;
              int error = 0;
              std::thread other([&] {
                char byte;
                if (read(words[0], &byte, 1) != 1) return;
                error = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
              });
              if (!serving->Install(true).ok() || write(words[1], "x", 1) != 1) return 2;
              other.join();
              return error;
            }),
            EACCES);
}

}  // namespace
}  // namespace trapline::daemon
