// SPDX-License-Identifier: Apache-2.0
// Namespaces that are left, and what is said of those that are not.
#include "daemon/vmm/confinement/namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "daemon/vmm/confinement/privileges.h"
#include "tests/vmm/child.h"

namespace trapline::daemon {
namespace {

std::string LinkOf(const char* kind) {
  return std::filesystem::read_symlink(std::string("/proc/self/ns/") + kind);
}

TEST(NamespacesTest, ThoseThatAreNamedWereLeft) {
  const uid_t uid = geteuid();
  EXPECT_EQ(InChild([uid] {
              constexpr const char* kKinds[][2] = {{"user", "user"}, {"mount", "mnt"},
                                                   {"IPC", "ipc"},   {"network", "net"},
                                                   {"UTS", "uts"},   {"cgroup", "cgroup"}};
              std::string before[6];
              for (size_t i = 0; i < 6; ++i) before[i] = LinkOf(kKinds[i][1]);
              Namespaces namespaces;
              namespaces.LeaveShared();
              namespaces.LeaveOwn();
              const std::string detail = namespaces.measure().detail();
              const std::string left = detail.substr(0, detail.find(';'));
              for (size_t i = 0; i < 6; ++i) {
                const bool named = left.find(kKinds[i][0]) != std::string::npos;
                if (named != (LinkOf(kKinds[i][1]) != before[i])) return static_cast<int>(i) + 1;
              }
              const bool all = detail.find("not ") == std::string::npos;
              if (all != (namespaces.measure().state() == Measure::APPLIED)) return 10;
              return geteuid() == uid ? 0 : 11;
            }),
            0);
}

// A process that is in a chroot may make no user namespace (user_namespaces(7)).
TEST(NamespacesTest, WhatIsNotGrantedIsSaidAndChangesNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may chroot";
  EXPECT_EQ(
      InChild([] {
        char name[] = "/tmp/trapline-root-XXXXXX";
        if (!mkdtemp(name) || chroot("/tmp") != 0) return 1;
        GiveUpPrivileges();
        Namespaces namespaces;
        namespaces.LeaveShared();
        namespaces.LeaveOwn();
        rmdir(name + 4);
        if (namespaces.has_mounts()) return 2;
        const Measure measure = namespaces.measure();
        if (measure.state() != Measure::UNAVAILABLE) return 3;
        return measure.detail().find("user (Operation not permitted)") != std::string::npos ? 0 : 4;
      }),
      0);
}

}  // namespace
}  // namespace trapline::daemon
