// SPDX-License-Identifier: Apache-2.0
// Only what works is offered.
#include "core/hypercall/kvm_features.h"

#include "core/guest/abi.h"

namespace trapline::hypercall {
namespace {

constexpr uint32_t kSignatureLeaf = 0x40000000, kFeatureLeaf = 0x40000001;
constexpr uint32_t kClockSource = 1u << 0, kNopIoDelay = 1u << 1, kClockSource2 = 1u << 3,
                   kStealTime = 1u << 5, kPvUnhalt = 1u << 7, kPvSendIpi = 1u << 11,
                   kPvSchedYield = 1u << 13, kClockSourceStable = 1u << 24;

}  // namespace

std::optional<engine::CpuidLeaf> HypervisorLeaf(uint32_t leaf, bool steal_time) {
  switch (leaf) {
    case kSignatureLeaf:
      return engine::CpuidLeaf{kFeatureLeaf, 0x4b4d564b, 0x564b4d56, 0x4d};  // "KVMKVMKVM"
    case kFeatureLeaf:
      return engine::CpuidLeaf{kClockSource | kNopIoDelay | kClockSource2 | kPvUnhalt | kPvSendIpi |
                                   kPvSchedYield | kClockSourceStable |
                                   (steal_time ? kStealTime : 0),
                               0, 0, 0};
    case TRAPLINE_CPUID_LEAF:
      return engine::CpuidLeaf{TRAPLINE_ABI_VERSION, 0x70617254, 0x656e696c,
                               0x004d4d56};  // "TraplineVMM"
    default:
      return std::nullopt;
  }
}

}  // namespace trapline::hypercall
