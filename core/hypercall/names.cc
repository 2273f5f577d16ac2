// SPDX-License-Identifier: Apache-2.0
// The words for techniques, states and reasons (DESIGN: words).
#include "core/hypercall/site.h"

namespace trapline::hypercall {

std::string_view TechniqueName(Technique technique) {
  switch (technique) {
    case Technique::kNone:
      return "none";
    case Technique::kEmulate:
      return "emulate";
    case Technique::kInterrupt:
      return "interrupt";
    case Technique::kLinked:
      return "linked";
  }
  return "unknown";
}

std::string_view SiteStateName(SiteState state) {
  switch (state) {
    case SiteState::kNone:
      return "none";
    case SiteState::kTrapping:
      return "trapping";
    case SiteState::kPatched:
      return "patched(interrupt)";
    case SiteState::kLinked:
      return "patched(linked)";
    case SiteState::kReverted:
      return "reverted";
    case SiteState::kPinned:
      return "pinned";
    case SiteState::kRetired:
      return "retired";
    case SiteState::kDirect:
      return "direct";
    case SiteState::kAmbiguous:
      return "ambiguous";
  }
  return "unknown";
}

std::string_view ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kNone:
      return "";
    case Reason::kFirstTrap:
      return "first trap";
    case Reason::kTrapThreshold:
      return "enough traps";
    case Reason::kCallThreshold:
      return "enough fast calls";
    case Reason::kPolicy:
      return "policy";
    case Reason::kRevertedByUser:
      return "reverted on request";
    case Reason::kOverwritten:
      return "overwritten by the guest";
    case Reason::kSpansPages:
      return "spans two pages";
    case Reason::kReappeared:
      return "trapped again";
    case Reason::kGuestCode:
      return "the guest's own int $0x1f";
    case Reason::kReset:
      return "the VM was reset";
    case Reason::kUnconfirmed:
      return "not confirmed to be an instruction";
    case Reason::kJumpOutside:
      return "its jump would leave the address space";
    case Reason::kJumpIntoRam:
      return "its jump would lead into guest RAM";
    case Reason::kJumpIntoOwn:
      return "its jump would lead into the engine's own pages";
    case Reason::kJumpUnplanned:
      return "no jump was prepared for it at load";
  }
  return "unknown";
}

}  // namespace trapline::hypercall
