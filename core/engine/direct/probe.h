// SPDX-License-Identifier: Apache-2.0
// What this machine offers engine `direct`: what trapping instructions do in ring 3 here, what each
// costs, and whether the kernel has what the guest process needs. Found out in a child process.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trapline::engine::direct {

// What an instruction does in ring 3. The API's enum (proto, TrapBehaviour.Kind) has the same
// numbers.
enum class TrapKind {
  kUnknown = 0,        // the probe could not find out
  kInvalidOpcode,      // #UD, vector 6: lguest's world
  kGeneralProtection,  // #GP, vector 13
  kOther,              // another fault or trap
  kSilent,             // it executes, or nothing happens that this process could see
  kRewritten,          // an outer hypervisor rewrites the bytes where the page is writable
};

// "#UD", "#GP", "other fault", "silent", "rewritten", "unknown".
std::string_view TrapKindName(TrapKind kind);

struct TrapResult {
  // "vmcall", "vmmcall", "ud2", "int 0x1f", "int3", "hlt", "in", "out", "cpuid"
  std::string instruction;
  TrapKind kind = TrapKind::kUnknown;
  std::string signal;   // "SIGILL"; empty: none came. On a page that is not writable.
  uint64_t cycles = 0;  // there and back, the median, in ticks of the host's TSC
};

struct HostProbe {
  std::vector<TrapResult> traps;  // in the order above; those that the child came to
  TrapKind vmcall = TrapKind::kUnknown;
  TrapKind vmmcall = TrapKind::kUnknown;
  // The kernel can make `cpuid` fault (arch_prctl ARCH_SET_CPUID); the row `cpuid` is measured so
  // where it can.
  bool cpuid_faults = false;
  // Readable: the first thing that engine `direct` needs and this machine lacks. Empty: it can run.
  std::string missing;

  // What that instruction's row says; 0 where there is none.
  uint64_t CyclesOf(std::string_view instruction) const;
};

// Takes about ten milliseconds; thread-safe. Forks, and the child only makes system calls, so any
// process may call it, whatever its other threads do.
HostProbe ProbeHost();

}  // namespace trapline::engine::direct
