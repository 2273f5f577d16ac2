// SPDX-License-Identifier: Apache-2.0
// The service table.
#include "core/hypercall/services.h"
#include "core/base/cycles.h"

#include <sched.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "core/guest/abi.h"
#include "core/x86/paging.h"

namespace trapline::hypercall {
namespace {

constexpr uint64_t Error(int error) { return static_cast<uint64_t>(-static_cast<int64_t>(error)); }

constexpr uint64_t kMaxConsoleBytes = 4096;  // in one call

void KickCpu(ServiceHost& host, LedgerServices&, Call& call) {
  host.KickVcpu(static_cast<uint32_t>(call.args[1]));
  call.result = 0;
}

// struct kvm_clock_pairing of the Linux UAPI.
struct ClockPair {
  int64_t seconds, nanoseconds;
  uint64_t tsc;
  uint32_t flags;
  uint32_t padding[9];
};

void ClockPairing(ServiceHost& host, LedgerServices&, Call& call) {
  constexpr uint64_t kRealtime = 0;
  if (call.args[1] != kRealtime) {
    call.result = Error(KVM_EOPNOTSUPP);
    return;
  }
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  ClockPair pair{now.tv_sec, now.tv_nsec, host.TicksAt(base::HostCycles()), 0, {}};
  call.result =
      host.WriteGuest(call.args[0], std::as_bytes(std::span(&pair, 1))) ? 0 : Error(KVM_EFAULT);
}

// Bit i of the 128-bit map means the vCPU with APIC id min + i; the answer is how many were
// reached.
void SendIpi(ServiceHost& host, LedgerServices&, Call& call) {
  constexpr uint64_t kFixed = 0, kNmi = 4;
  uint64_t min = call.args[2], icr = call.args[3], mode = (icr >> 8) & 7;
  if (mode != kFixed && mode != kNmi) {
    call.result = Error(KVM_EINVAL);
    return;
  }
  uint64_t reached = 0;
  for (unsigned word = 0; word < 2; ++word) {
    for (uint64_t bits = call.args[word]; bits != 0; bits &= bits - 1) {
      uint64_t id = min + word * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
      if (id <= UINT32_MAX &&
          host.SendInterrupt(static_cast<uint32_t>(id), mode == kNmi, static_cast<uint8_t>(icr)))
        ++reached;
    }
  }
  call.result = reached;
}

// The vCPU that is waited for gets this thread's processor, as far as the host's scheduler obliges.
void SchedYield(ServiceHost&, LedgerServices&, Call& call) {
  sched_yield();
  call.result = 0;
}

void Ping(ServiceHost&, LedgerServices&, Call& call) { call.result = call.args[0]; }

void ConsoleWrite(ServiceHost& host, LedgerServices&, Call& call) {
  uint64_t length = call.args[1];
  if (length > kMaxConsoleBytes) {
    call.result = Error(KVM_E2BIG);
    return;
  }
  std::array<std::byte, kMaxConsoleBytes> bytes;
  if (!host.ReadGuest(call.args[0], std::span(bytes).first(length))) {
    call.result = Error(KVM_EFAULT);
    return;
  }
  host.ConsoleOutput({reinterpret_cast<const char*>(bytes.data()), length});
  call.result = length;
}

void Clock(ServiceHost& host, LedgerServices&, Call& call) { call.result = host.Nanoseconds(); }

void Shutdown(ServiceHost& host, LedgerServices&, Call& call) {
  host.Shutdown(static_cast<uint32_t>(call.args[0]));
  call.result = 0;
  call.outcome = engine::HypercallOutcome::kExit;
}

void Wait(ServiceHost&, LedgerServices&, Call& call) {
  call.result = 0;
  call.outcome = engine::HypercallOutcome::kHalt;
}

void VcpuNumber(ServiceHost&, LedgerServices&, Call& call) { call.result = call.vcpu; }

void Entropy(ServiceHost&, LedgerServices&, Call& call) {
  if (getrandom(&call.result, sizeof call.result, 0) != sizeof call.result)
    call.result = Error(KVM_ENOSYS);
}

void DirectSites(ServiceHost&, LedgerServices& ledger, Call& call) {
  call.result = ledger.RegisterDirectSites(call.args[0], call.args[1]) ? 0 : Error(KVM_EINVAL);
}

void LimitTechnique(ServiceHost&, LedgerServices& ledger, Call& call) {
  call.result = ledger.LimitTechnique(call.args[0]) ? 0 : Error(KVM_EINVAL);
}

// ---- Upcalls ----

void RegisterUpcall(ServiceHost& host, LedgerServices&, Call& call) {
  uint64_t entry = call.args[0], info = call.args[1];
  if (!x86::Canonical(entry) || info % sizeof(trapline_vcpu_info) != 0) {
    call.result = Error(KVM_EINVAL);
    return;
  }
  call.result = host.RegisterUpcall(call.vcpu, entry, info) ? 0 : Error(KVM_EFAULT);
}

void SetTimer(ServiceHost& host, LedgerServices&, Call& call) {
  host.SetTimer(call.vcpu, call.args[0]);
  call.result = 0;
}

void StartVcpu(ServiceHost& host, LedgerServices&, Call& call) {
  if (call.args[0] > UINT32_MAX || !x86::Canonical(call.args[1]) || !x86::Canonical(call.args[2])) {
    call.result = Error(KVM_EINVAL);
    return;
  }
  switch (host.StartVcpu(call.vcpu, {.vcpu = static_cast<uint32_t>(call.args[0]),
                                     .entry = call.args[1],
                                     .stack = call.args[2],
                                     .argument = call.args[3]})) {
    case StartOutcome::kStarted:
      call.result = 0;
      call.outcome = engine::HypercallOutcome::kExit;
      return;
    case StartOutcome::kNoSuchVcpu:
      call.result = Error(KVM_EINVAL);
      return;
    case StartOutcome::kRunning:
      call.result = Error(KVM_EPERM);
      return;
  }
}

void SendEvent(ServiceHost& host, LedgerServices&, Call& call) {
  uint64_t event = call.args[1];
  bool good = event >= TRAPLINE_EVENT_GUEST && event < TRAPLINE_EVENTS &&
              host.RaiseEvent(call.args[0], static_cast<unsigned>(event));
  call.result = good ? 0 : Error(KVM_EINVAL);
}

void ConsoleRead(ServiceHost& host, LedgerServices&, Call& call) {
  if (call.args[1] > kMaxConsoleBytes) {
    call.result = Error(KVM_E2BIG);
    return;
  }
  call.result = host.ReadConsole(call.args[0], call.args[1]).value_or(Error(KVM_EFAULT));
}

void ConsolePut(ServiceHost& host, LedgerServices&, Call& call) {
  uint64_t count = call.args[1];
  if (count > sizeof call.args[0]) {
    call.result = Error(KVM_EINVAL);
    return;
  }
  if (count != 0) host.ConsoleOutput({reinterpret_cast<const char*>(&call.args[0]), count});
  call.result = count;
}

struct Service {
  uint64_t number;
  void (*serve)(ServiceHost&, LedgerServices&, Call&);
};

// Names and arguments are in core/guest/hypercalls.cc.
constexpr Service kKvmServices[] = {
    {KVM_HC_KICK_CPU, KickCpu},
    {KVM_HC_CLOCK_PAIRING, ClockPairing},
    {KVM_HC_SEND_IPI, SendIpi},
    {KVM_HC_SCHED_YIELD, SchedYield},
};
// In the order of their numbers.
constexpr Service kOwnServices[] = {
    {TRAPLINE_HC_PING, Ping},
    {TRAPLINE_HC_CONSOLE_WRITE, ConsoleWrite},
    {TRAPLINE_HC_CLOCK, Clock},
    {TRAPLINE_HC_SHUTDOWN, Shutdown},
    {TRAPLINE_HC_WAIT, Wait},
    {TRAPLINE_HC_VCPU_NUMBER, VcpuNumber},
    {TRAPLINE_HC_ENTROPY, Entropy},
    {TRAPLINE_HC_DIRECT_SITES, DirectSites},
    {TRAPLINE_HC_TECHNIQUE, LimitTechnique},
    {TRAPLINE_HC_UPCALL, RegisterUpcall},
    {TRAPLINE_HC_TIMER, SetTimer},
    {TRAPLINE_HC_VCPU_START, StartVcpu},
    {TRAPLINE_HC_SEND_EVENT, SendEvent},
    {TRAPLINE_HC_CONSOLE_READ, ConsoleRead},
    {TRAPLINE_HC_CONSOLE_PUT, ConsolePut},
};

const Service* FindService(uint64_t number) {
  uint64_t own = number - TRAPLINE_HC_BASE;
  if (own < std::size(kOwnServices)) return &kOwnServices[own];
  for (const Service& service : kKvmServices) {
    if (service.number == number) return &service;
  }
  return nullptr;
}

}  // namespace

void Serve(ServiceHost& host, LedgerServices& ledger, Call& call) {
  if (const Service* service = FindService(call.number)) {
    service->serve(host, ledger, call);
  } else {
    call.result = Error(KVM_ENOSYS);
  }
}

}  // namespace trapline::hypercall
