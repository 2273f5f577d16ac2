// SPDX-License-Identifier: Apache-2.0
// The table of hypercalls.
#include "core/guest/hypercalls.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/guest/abi.h"

namespace trapline::guest {
namespace {

using enum Show;

// KVM's (Linux, include/uapi/linux/kvm_para.h), with arguments as its documentation names them
// (Documentation/virt/kvm/x86/hypercalls.rst). Those of other architectures have names alone.
constexpr std::array kTable = std::to_array<Hypercall>({
    {1, "vapic_poll_irq", 0, {}},
    {2, "mmu_op", 3, {{"length", kDecimal}, {"gpa"}, {"gpa_high"}}},
    {3, "features", 4, {}},
    {4, "ppc_map_magic_page", 4, {}},
    {KVM_HC_KICK_CPU, "kick_cpu", 2, {{"flags"}, {"apic_id", kDecimal}}},
    {6, "mips_get_clock_freq", 4, {}},
    {7, "mips_exit_vm", 4, {}},
    {8, "mips_console_output", 4, {}},
    {KVM_HC_CLOCK_PAIRING, "clock_pairing", 2, {{"gpa"}, {"type", kDecimal}}},
    {KVM_HC_SEND_IPI,
     "send_ipi",
     4,
     {{"bitmap", kWide}, {"bitmap_high"}, {"min", kDecimal}, {"icr"}}},
    {KVM_HC_SCHED_YIELD, "sched_yield", 1, {{"apic_id", kDecimal}}},
    {12, "map_gpa_range", 3, {{"gpa"}, {"pages", kDecimal}, {"attributes"}}},

    {TRAPLINE_HC_PING, "ping", 1, {{"x"}}},
    {TRAPLINE_HC_CONSOLE_WRITE, "console_write", 2, {{"gpa"}, {"length", kDecimal}}},
    {TRAPLINE_HC_CLOCK, "clock", 0, {}, kTime},
    {TRAPLINE_HC_SHUTDOWN, "shutdown", 1, {{"status", kDecimal}}},
    {TRAPLINE_HC_WAIT, "wait", 0, {}},
    {TRAPLINE_HC_VCPU_NUMBER, "vcpu_number", 0, {}},
    {TRAPLINE_HC_ENTROPY, "entropy", 0, {}, kHex},
    {TRAPLINE_HC_DIRECT_SITES, "direct_sites", 2, {{"start"}, {"length"}}},
    {TRAPLINE_HC_TECHNIQUE, "technique", 1, {{"limit", kTechnique}}},
    {TRAPLINE_HC_UPCALL, "upcall", 2, {{"entry"}, {"info"}}},
    {TRAPLINE_HC_TIMER, "timer", 1, {{"deadline", kTime}}},
    {TRAPLINE_HC_VCPU_START,
     "vcpu_start",
     4,
     {{"vcpu", kDecimal}, {"entry"}, {"stack"}, {"argument"}}},
    {TRAPLINE_HC_SEND_EVENT, "send_event", 2, {{"vcpu", kDecimal}, {"event", kEvent}}},
    {TRAPLINE_HC_CONSOLE_READ, "console_read", 2, {{"gpa"}, {"length", kDecimal}}},
    {TRAPLINE_HC_CONSOLE_PUT, "console_put", 2, {{"bytes", kText}, {"count", kDecimal}}},
});

constexpr uint64_t kKvmCalls = 12;  // numbers 1 to so many, with no gap; so are ours

constexpr size_t IndexOf(uint64_t number) {
  return number < TRAPLINE_HC_BASE ? number - 1 : number - TRAPLINE_HC_BASE + kKvmCalls;
}
constexpr bool EveryNumberIsAtItsIndex() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (IndexOf(kTable[i].number) != i) return false;
  }
  return true;
}
static_assert(EveryNumberIsAtItsIndex());

constexpr std::pair<int, std::string_view> kErrors[] = {
    {KVM_ENOSYS, "ENOSYS"}, {KVM_EFAULT, "EFAULT"}, {KVM_EINVAL, "EINVAL"},
    {KVM_E2BIG, "E2BIG"},   {KVM_EPERM, "EPERM"},   {KVM_EOPNOTSUPP, "EOPNOTSUPP"},
};

}  // namespace

std::span<const Hypercall> Hypercalls() { return kTable; }

const Hypercall* FindHypercall(uint64_t number) {
  if (number > kKvmCalls && number < TRAPLINE_HC_BASE) return nullptr;
  size_t index = IndexOf(number);
  return index < kTable.size() ? &kTable[index] : nullptr;
}

std::string HypercallName(uint64_t number) {
  const Hypercall* call = FindHypercall(number);
  return call ? std::string(call->name) : "hypercall_" + std::to_string(number);
}

unsigned HypercallArguments(uint64_t number) {
  const Hypercall* call = FindHypercall(number);
  return call ? call->argument_count : 4;
}

std::string_view ErrorName(int64_t result) {
  auto found = std::find_if(std::begin(kErrors), std::end(kErrors),
                            [result](const auto& error) { return -error.first == result; });
  return found == std::end(kErrors) ? std::string_view() : found->second;
}

}  // namespace trapline::guest
