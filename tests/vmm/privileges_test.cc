// SPDX-License-Identifier: Apache-2.0
// Capabilities.
#include "daemon/vmm/confinement/privileges.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <fstream>
#include <string>

#include "tests/vmm/child.h"

namespace trapline::daemon {
namespace {

// As /proc has it: "CapEff", in hexadecimal.
std::string StatusField(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word == name + ":" && file >> word) return word;
  }
  return "";
}

TEST(PrivilegesTest, AreGone) {
  EXPECT_EQ(InChild([] {
              if (GiveUpPrivileges().state() != Measure::APPLIED) return 1;
              const std::string none = "0000000000000000";
              for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
                if (StatusField(set) != none) return 2;
              }
              return StatusField("NoNewPrivs") == "1" ? 0 : 3;
            }),
            0);
}

TEST(PrivilegesTest, OfWhoHadThemCanBeRegainedByNoProgram) {
  if (prctl(PR_CAPBSET_READ, 0, 0, 0, 0) != 1 || StatusField("CapEff") == "0000000000000000")
    GTEST_SKIP() << "this process has none";
  EXPECT_EQ(InChild([] {
              GiveUpPrivileges();
              return StatusField("CapBnd") == "0000000000000000" ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace trapline::daemon
