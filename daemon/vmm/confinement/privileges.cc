// SPDX-License-Identifier: Apache-2.0
// capset(2) has no wrapper in glibc, and needs no library for emptying all sets.
#include "daemon/vmm/confinement/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

constexpr char kName[] = "privileges";

Measure Failed(const char* what) {
  return MakeMeasure(kName, Measure::UNAVAILABLE, absl::StrCat(what, ": ", strerror(errno)));
}

// Who may not has none to give up that a program could bring back: no_new_privs stands.
void EmptyBoundingSet() {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

}  // namespace

Measure GiveUpPrivileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("no_new_privs");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return Failed("the ambient capabilities");
  EmptyBoundingSet();
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, none) != 0) return Failed("the capabilities");
  return MakeMeasure(kName, Measure::APPLIED, "no capabilities, no new privileges");
}

}  // namespace trapline::daemon
