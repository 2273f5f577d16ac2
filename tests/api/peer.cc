// SPDX-License-Identifier: Apache-2.0
// Connects as somebody else.
#include "tests/api/peer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "grpcpp/create_channel_posix.h"

namespace trapline::daemon {
namespace {

constexpr int kPatienceMs = 60'000;

// Of the calling thread alone, which the C library's functions of these names do not offer.
bool Become(const User& user) {
  return syscall(SYS_setgroups, user.more_groups.size(), user.more_groups.data()) == 0 &&
         syscall(SYS_setresgid, -1, user.gid, -1) == 0 &&
         syscall(SYS_setresuid, -1, user.uid, -1) == 0;
}

}  // namespace

base::UniqueFd ConnectAs(const User& user, const std::string& socket_path) {
  base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  bool connected = false;
  std::thread([&] {
    if (!Become(user)) {
      ADD_FAILURE() << "this test takes root";
      return;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    connected = connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }).join();
  if (!connected) fd.Reset();
  return fd;
}

bool IsServed(const base::UniqueFd& connection) {
  pollfd readable{connection.get(), POLLIN, 0};
  char byte;
  EXPECT_EQ(poll(&readable, 1, kPatienceMs), 1) << "neither";
  return recv(connection.get(), &byte, 1, MSG_PEEK) == 1;
}

std::shared_ptr<grpc::Channel> ChannelAs(const User& user, const std::string& socket) {
  base::UniqueFd fd = ConnectAs(user, socket);
  EXPECT_TRUE(fd.valid()) << "user " << user.uid << " cannot connect";
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return grpc::CreateInsecureChannelFromFd("localhost", fd.Release());
}

}  // namespace trapline::daemon
