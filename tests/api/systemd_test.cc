// SPDX-License-Identifier: Apache-2.0
// What a service manager hears of a real daemon. The test is the manager: it has the socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr timeval kPatience{60, 0};

base::UniqueFd Bind(const std::string& path, int type) {
  base::UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << path;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return fd;
}

class Systemd : public ::testing::Test {
 protected:
  Systemd() {
    char name[] = "/tmp/trapline-systemd-XXXXXX";
    directory_ = mkdtemp(name);
    socket_ = Bind(directory_ + "/notify", SOCK_DGRAM);
    setenv("NOTIFY_SOCKET", (directory_ + "/notify").c_str(), 1);
  }
  ~Systemd() override {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    std::filesystem::remove_all(directory_);
  }
  // As the unit's WatchdogSec= would; three signs of life in that time.
  void SetWatchdog(const char* microseconds) { setenv("WATCHDOG_USEC", microseconds, 1); }
  // What comes next; empty when nothing does.
  std::string Next() {
    std::array<char, 4096> text;
    const ssize_t size = recv(socket_.get(), text.data(), text.size(), 0);
    return size > 0 ? std::string(text.data(), size) : std::string();
  }
  // The next message with that in it; empty when there comes none.
  std::string NextWith(const std::string& wanted) {
    for (std::string said = Next(); !said.empty(); said = Next()) {
      if (said.find(wanted) != std::string::npos) return said;
    }
    return "";
  }

  std::string directory_;
  base::UniqueFd socket_;
};

TEST_F(Systemd, IsToldOfTheBeginningAndTheEnd) {
  DaemonProcess daemon;
  EXPECT_EQ(Next(), "READY=1\nSTATUS=0 VMs, 0 running");
  EXPECT_EQ(daemon.Terminate(), 0);
  EXPECT_EQ(NextWith("STOPPING=1"), "STOPPING=1\nSTATUS=ending");
}

TEST_F(Systemd, IsToldOfVmsThatAnEarlierDaemonLeft) {
  DaemonProcess earlier("", {"--on-exit", "leave"});
  ASSERT_TRUE(earlier.CreateIdleVm("left").ok());
  ASSERT_TRUE(earlier.StartVm("left").ok());
  earlier.KeepDirectory();
  earlier.Terminate();
  ASSERT_NE(NextWith("STOPPING=1"), "");
  DaemonProcess daemon(earlier.directory(), {"--on-exit", "stop"});
  EXPECT_EQ(Next(), "READY=1\nSTATUS=1 VM, 1 running");
}

TEST_F(Systemd, GetsSignsOfLifeWithTheNumberOfVms) {
  SetWatchdog("300000");
  DaemonProcess daemon;
  ASSERT_TRUE(daemon.CreateIdleVm("one").ok());
  ASSERT_TRUE(daemon.StartVm("one").ok());
  EXPECT_EQ(NextWith("1 running"), "STATUS=1 VM, 1 running\nWATCHDOG=1");
}

TEST_F(Systemd, GetsNoneWhileTheDaemonDoesNotAnswer) {
  SetWatchdog("300000");
  DaemonProcess daemon;
  ASSERT_NE(NextWith("WATCHDOG=1"), "");
  // In the place of the daemon's socket comes one that takes connections and never speaks.
  const std::string path = daemon.directory() + "/d.sock";
  std::filesystem::rename(path, path + ".away");
  {
    base::UniqueFd mute = Bind(path, SOCK_STREAM);
    ASSERT_EQ(listen(mute.get(), 16), 0);
    EXPECT_THAT(NextWith("does not answer"),
                AllOf(HasSubstr("0 VMs, 0 running"), Not(HasSubstr("WATCHDOG=1"))));
  }
  std::filesystem::rename(path + ".away", path);
  EXPECT_NE(NextWith("WATCHDOG=1"), "");
}

}  // namespace
}  // namespace trapline::daemon
