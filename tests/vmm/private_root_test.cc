// SPDX-License-Identifier: Apache-2.0
// What can be seen from inside a private root.
#include "daemon/vmm/confinement/private_root.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "daemon/vmm/confinement/namespaces.h"
#include "tests/common/scratch.h"
#include "tests/vmm/child.h"

namespace trapline::daemon {
namespace {

constexpr int kNotGranted = 200;

class PrivateRootTest : public ::testing::Test {
 protected:
  PrivateRootTest() {
    std::filesystem::create_directories(parent_ + "/vms/mine");
    std::filesystem::create_directories(parent_ + "/vms/other");
    std::ofstream(parent_ + "/vms/other/stats") << "secret";
  }

  // Runs the body inside; skips where the host does not grant it.
  void Inside(const std::function<int()>& body) {
    const int result = InChild([&] {
      Namespaces namespaces;
      namespaces.LeaveShared();
      namespaces.LeaveOwn();
      if (!namespaces.has_mounts()) return kNotGranted;
      const Measure measure = EnterPrivateRoot(mine());
      return measure.state() == Measure::APPLIED ? body() : kNotGranted;
    });
    if (result == kNotGranted) GTEST_SKIP() << "this host grants no private root";
    EXPECT_EQ(result, 0);
  }
  std::string mine() const { return parent_ + "/vms/mine"; }
  std::string other() const { return parent_ + "/vms/other"; }

  const Scratch scratch_;
  const std::string parent_ = scratch_.path();
};

std::set<std::string> Names(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename());
  return names;
}

TEST_F(PrivateRootTest, HasTheDirectoryAndNothingElse) {
  Inside([this] {
    if (Names("/") != std::set<std::string>{"proc", "tmp"}) return 1;
    if (Names("/proc") != std::set<std::string>{"self"}) return 2;
    if (Names("/proc/self") != std::set<std::string>{"task"}) return 3;
    if (Names(parent_ + "/vms") != std::set<std::string>{"mine"}) return 4;
    if (access(other().c_str(), F_OK) == 0 || errno != ENOENT) return 5;
    // Nor by the way that leads out of a chroot.
    for (int i = 0; i < 20; ++i) {
      if (chdir("..") != 0) return 6;
    }
    return access("etc", F_OK) != 0 && access("tmp", F_OK) == 0 ? 0 : 7;
  });
}

TEST_F(PrivateRootTest, TheDirectoryIsTheSameAndTheRestReadOnly) {
  Inside([this] {
    std::ofstream(mine() + "/made") << "inside";
    if (mkdir("/new", 0755) == 0 || errno != EROFS) return 1;
    return mkdir((parent_ + "/new").c_str(), 0755) != 0 && errno == EROFS ? 0 : 2;
  });
  if (IsSkipped()) return;
  std::string word;
  std::ifstream(mine() + "/made") >> word;
  EXPECT_EQ(word, "inside");
  EXPECT_EQ(Names("/tmp").count("proc"), 0u) << "nobody else sees the new root";
}

TEST_F(PrivateRootTest, AThreadFindsItsOwnEntry) {
  Inside([] {
    const std::string path = "/proc/self/task/" + std::to_string(gettid()) + "/stat";
    return access(path.c_str(), R_OK) == 0 ? 0 : 1;
  });
}

TEST_F(PrivateRootTest, NoProgramOfTheDirectoryCanBeExecuted) {
  std::filesystem::copy_file("/bin/true", mine() + "/program");
  Inside([this] {
    execl((mine() + "/program").c_str(), "program", nullptr);
    return errno == EACCES ? 0 : 1;
  });
}

TEST_F(PrivateRootTest, OneThatCannotBeMadeLeavesEverythingInSight) {
  EXPECT_EQ(InChild([this] {
              Namespaces namespaces;
              namespaces.LeaveShared();
              namespaces.LeaveOwn();
              const Measure measure = EnterPrivateRoot(parent_ + "/none");
              if (measure.state() != Measure::UNAVAILABLE) return 1;
              if (measure.detail().find("No such file") == std::string::npos &&
                  measure.detail().find("not permitted") == std::string::npos)
                return 2;
              return access((other() + "/stats").c_str(), R_OK) == 0 ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace trapline::daemon
