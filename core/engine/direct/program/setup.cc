// SPDX-License-Identifier: Apache-2.0
// From a fresh process to one that can do nothing but run a guest.
//
// The program is started with five descriptors and nothing else worth having. It maps what the VMM
// lists, closes everything, unmaps everything else (the stack it was started on, the vDSO), gives
// up whatever else a process can have, and installs the system-call filter: rt_sigreturn, futex
// (wait and wake) and exit, from this program's text alone. Guest code can jump to those
// instructions as well; none of the three lets it reach anything of the host's. A denied call is a
// SIGSYS, which becomes the guest's own fault.
#include <asm/prctl.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/engine/direct/program/process.h"

namespace trapline::engine::direct {
namespace {

GuestText text;

template <typename T>
long Word(T* pointer) {
  return reinterpret_cast<long>(pointer);
}
uint64_t Address(const char* symbol) { return reinterpret_cast<uint64_t>(symbol); }

bool Failed(long result) { return result < 0 && result > -4096; }

[[noreturn]] void Exit() {
  for (;;) SystemCall(SYS_exit_group, 1);
}

// Tells the VMM, which waits, and ends.
void Check(SetupStep step, long result) {
  if (!Failed(result)) return;
  ControlPage& c = control();
  c.step = step;
  c.error = static_cast<int32_t>(-result);
  c.request = Request::kFailed;
  c.turn.store(static_cast<uint32_t>(Turn::kHost));
  SystemCall(SYS_futex, Word(&c.turn), FUTEX_WAKE, 1);
  Exit();
}

long Map(uint64_t address, uint64_t size, int protection, uint32_t fd, uint64_t offset) {
  return SystemCall(SYS_mmap, static_cast<long>(address), static_cast<long>(size), protection,
                    MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, static_cast<long>(offset));
}

const Setup& MapAll() {
  constexpr int kReadWrite = PROT_READ | PROT_WRITE;
  // Without this there is nobody to tell.
  if (Failed(Map(TRAPLINE_CONTROL, kSetupOffset, kReadWrite, kControlFd, 0))) Exit();
  Check(SetupStep::kMap, Map(TRAPLINE_SETUP, kMaxSetupSize, PROT_READ, kControlFd, kSetupOffset));
  const Setup& setup = *reinterpret_cast<const Setup*>(TRAPLINE_SETUP);
  const auto* mappings = reinterpret_cast<const Mapping*>(&setup + 1);
  for (uint32_t i = 0; i < setup.mappings; ++i) {
    const Mapping& m = mappings[i];
    long mapped = Map(m.address, m.size, static_cast<int>(m.protection), m.fd, m.offset);
    Check(SetupStep::kMap, mapped);
  }
  return setup;
}

void UnmapTheRest(const Setup& setup) {
  const auto* gaps =
      reinterpret_cast<const Gap*>(reinterpret_cast<const Mapping*>(&setup + 1) + setup.mappings);
  uint32_t count = setup.gaps;
  for (uint32_t i = 0; i < count; ++i) {
    Check(SetupStep::kUnmap, SystemCall(SYS_munmap, static_cast<long>(gaps[i].address),
                                        static_cast<long>(gaps[i].size)));
  }
  SystemCall(SYS_munmap, TRAPLINE_SETUP, kMaxSetupSize);
}

// Namespaces of its own are a second wall, which some hosts do not grant. Those of network and
// mounts are left out: they take longer to make than all else here, for what the filter denies
// anyway.
void Separate() {
  constexpr long kSpaces = CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  SystemCall(SYS_unshare, kSpaces);
}

void GiveUpEverything(int32_t parent) {
  SystemCall(SYS_prctl, PR_SET_NAME, Word("trapline-guest"));
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  SystemCall(SYS_capset, Word(&header), Word(none));
  const rlimit zero{0, 0};
  for (int limit :
       {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE})
    Check(SetupStep::kLimits, SystemCall(SYS_prlimit64, 0, limit, Word(&zero)));
  Check(SetupStep::kLimits, SystemCall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1));
  Check(SetupStep::kLimits, SystemCall(SYS_prctl, PR_SET_DUMPABLE, 0));
  // Dies with the thread that started it. If that is gone already, nobody will say so.
  Check(SetupStep::kLimits, SystemCall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL));
  if (SystemCall(SYS_getppid) != parent) Check(SetupStep::kOrphan, -ESRCH);
}

void InstallFilter() {
  constexpr uint32_t kNumber = offsetof(seccomp_data, nr), kArch = offsetof(seccomp_data, arch);
  constexpr uint32_t kIp = offsetof(seccomp_data, instruction_pointer);
  constexpr uint32_t kOperation = offsetof(seccomp_data, args) + sizeof(uint64_t);
  auto low = [](uint64_t value) { return static_cast<uint32_t>(value); };
  const uint64_t start = Address(program_start), end = Address(program_text_end);
  const sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 12),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIp + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low(start >> 32), 0, 10),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIp),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low(start), 0, 8),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, low(end), 7, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kOperation),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAIT, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAKE, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof filter[0], const_cast<sock_filter*>(filter)};
  Check(SetupStep::kFilter, SystemCall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, Word(&program)));
}

}  // namespace

const GuestText& guest_text() { return text; }

void SetUp() {
  const Setup& setup = MapAll();
  ControlPage& c = control();
  c.linked_entry = Address(linked_entry);
  text = {setup.text_start, setup.text_end};
  int32_t parent = setup.parent;
  SystemCall(SYS_close_range, 0, ~0u);
  UnmapTheRest(setup);
  Check(SetupStep::kSignals, InstallHandlers());
  Separate();
  // Where the host cannot, the guest sees the host's.
  SystemCall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
  // The patcher's barriers reach those who ask for them (code_writer.h).
  Check(SetupStep::kLimits,
        SystemCall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0));
  GiveUpEverything(parent);
  InstallFilter();
}

extern "C" void Begin() {
  SetUp();
  HandOver(Request::kReady);
}

}  // namespace trapline::engine::direct
