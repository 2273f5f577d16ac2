// SPDX-License-Identifier: Apache-2.0
// What a service manager hears of a real daemon, and the socket that it hands over. The test is the
// manager: it has the sockets.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "grpcpp/create_channel_posix.h"
#include "tests/api/daemon_process.h"
#include "tests/common/scratch.h"

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

base::UniqueFd Connect(const std::string& path) {
  base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.Reset();
  return fd;
}

class Systemd : public ::testing::Test {
 protected:
  Systemd() {
    socket_ = Bind(directory_ + "/notify", SOCK_DGRAM);
    setenv("NOTIFY_SOCKET", (directory_ + "/notify").c_str(), 1);
  }
  ~Systemd() override {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
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

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
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

// The test is systemd, which listens and hands the socket over: by a script, as the number of the
// process that gets it has to be told.
class SocketActivation : public ::testing::Test {
 protected:
  std::string socket_path() const { return directory_ + "/d.sock"; }
  void Listen() {
    listener_ = Bind(socket_path(), SOCK_STREAM);
    ASSERT_EQ(listen(listener_.get(), 16), 0);
  }
  // A program that is traplined with these descriptors from 3 on.
  std::string Program(const std::vector<int>& passed) {
    const std::string script = directory_ + "/activated";
    std::ofstream out(script);
    out << "#!/bin/bash\n";
    int number = 3;
    for (int fd : passed) {
      fcntl(fd, F_SETFD, 0);
      out << "exec " << number++ << "<&" << fd << "\n";
    }
    out << "export LISTEN_PID=$$ LISTEN_FDS=" << passed.size() << "\nexec " TRAPLINED
        << " \"$@\" 2>>" << directory_ << "/log\n";
    out.close();
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    return script;
  }
  std::unique_ptr<DaemonProcess> Start() {
    auto daemon = std::make_unique<DaemonProcess>(
        directory_, std::vector<std::string>{"--on-exit", "leave"}, Program({listener_.get()}));
    daemon->KeepDirectory();
    return daemon;
  }
  // What a daemon that does not start says.
  std::string Refusal(const std::vector<int>& passed, const std::string& listen) {
    EXPECT_EQ(RunDaemon({"--listen", listen, "--run-dir", directory_ + "/run", "--state-dir",
                         directory_ + "/state"},
                        Program(passed)),
              1);
    std::ifstream log(directory_ + "/log");
    return std::string((std::istreambuf_iterator<char>(log)), {});
  }
  // The VM's state as a client hears that is connected already.
  static v1::Vm Get(const std::shared_ptr<grpc::Channel>& channel) {
    v1::GetVmRequest request;
    request.set_name("vms/a");
    v1::Vm vm;
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    v1::Vms::NewStub(channel)->GetVm(&context, request, &vm);
    return vm;
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  base::UniqueFd listener_;
};

TEST_F(SocketActivation, ClientsThatComeBetweenTwoDaemonsAreServedByTheSecond) {
  Listen();
  auto daemon = Start();
  ASSERT_TRUE(daemon->CreateIdleVm("a").ok());
  ASSERT_TRUE(daemon->StartVm("a").ok());
  EXPECT_EQ(daemon->Terminate(), 0);
  daemon = nullptr;
  ASSERT_TRUE(std::filesystem::exists(socket_path())) << "it is systemd's";
  base::UniqueFd waiting = Connect(socket_path());
  ASSERT_TRUE(waiting.valid());
  auto channel = grpc::CreateInsecureChannelFromFd("waiting", waiting.Release());
  daemon = Start();
  EXPECT_EQ(Get(channel).state(), v1::Vm::RUNNING);
  daemon->Kill();
  EXPECT_TRUE(Connect(socket_path()).valid()) << "also after a crash";
  daemon = Start();
  EXPECT_EQ(daemon->GetVm("a").state(), v1::Vm::RUNNING);
  EXPECT_TRUE(daemon->DeleteVm("a").ok());
}

// Its own socket would be in the place of this one.
TEST_F(SocketActivation, TheWatchdogLooksAtThatSocket) {
  Listen();
  base::UniqueFd manager = Bind(directory_ + "/notify", SOCK_DGRAM);
  setenv("NOTIFY_SOCKET", (directory_ + "/notify").c_str(), 1);
  setenv("WATCHDOG_USEC", "300000", 1);
  auto daemon = Start();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  std::array<char, 4096> text;
  std::string said;
  while (said.find("WATCHDOG=1") == std::string::npos) {
    const ssize_t size = recv(manager.get(), text.data(), text.size(), 0);
    ASSERT_GT(size, 0) << "after: " << said;
    said.assign(text.data(), static_cast<size_t>(size));
  }
}

TEST_F(SocketActivation, WhatCannotBeServedIsRefusedWithTheReason) {
  Listen();
  base::UniqueFd datagrams = Bind(directory_ + "/datagrams", SOCK_DGRAM),
                 deaf = Bind(directory_ + "/deaf", SOCK_STREAM),
                 file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(Refusal({listener_.get(), listener_.get()}, socket_path()),
              HasSubstr("systemd passes 2 sockets, and one is served"));
  EXPECT_THAT(Refusal({datagrams.get()}, socket_path()), HasSubstr("not a Unix stream socket"));
  EXPECT_THAT(Refusal({deaf.get()}, socket_path()),
              HasSubstr("not a Unix stream socket that listens"));
  EXPECT_THAT(Refusal({file.get()}, socket_path()), HasSubstr("is no socket"));
  EXPECT_THAT(Refusal({listener_.get()}, directory_ + "/other.sock"),
              HasSubstr("other.sock, but systemd listens on " + socket_path()));
  EXPECT_TRUE(Connect(socket_path()).valid()) << "nobody has taken it away";
}

TEST_F(SocketActivation, AnotherModeThanConfiguredIsSaid) {
  Listen();
  ASSERT_EQ(chmod(socket_path().c_str(), 0600), 0);
  std::ofstream(directory_ + "/t.toml") << "[socket]\nmode = \"0660\"\n";
  DaemonProcess daemon(directory_, {"--config", directory_ + "/t.toml"},
                       Program({listener_.get()}));
  daemon.KeepDirectory();
  EXPECT_THAT(daemon.Log(), HasSubstr("its mode is 0600 and not 0660"));
}

}  // namespace
}  // namespace trapline::daemon
