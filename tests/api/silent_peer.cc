// SPDX-License-Identifier: Apache-2.0
// As much HTTP/2 as one call takes (RFC 9113), with headers in literals (RFC 7541).
#include "tests/api/silent_peer.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>

namespace trapline::daemon {
namespace {

constexpr int kPatienceMs = 60'000;
constexpr char kData = 0, kHeaders = 1, kSettings = 4;
constexpr char kEndStream = 1, kEndHeaders = 4;

std::string Frame(char type, char flags, char stream, const std::string& payload) {
  std::string frame = {0, 0, static_cast<char>(payload.size()), type, flags, 0, 0, 0, stream};
  return frame + payload;
}

std::string Text(const std::string& text) { return static_cast<char>(text.size()) + text; }

// The one-byte indices are those of RFC 7541's static table.
std::string RequestHeaders(const std::string& path) {
  return "\x83\x86"  // :method POST, :scheme http
         "\x04" +
         Text(path) + "\x01" + Text("localhost") + "\x0f\x10" + Text("application/grpc") +
         std::string(1, '\0') + Text("te") + Text("trailers");
}

}  // namespace

SilentPeer::SilentPeer(const std::string& socket, const std::string& path)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string empty_message(5, '\0');
  const std::string said = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, "") +
                           Frame(kHeaders, kEndHeaders, 1, RequestHeaders(path)) +
                           Frame(kData, kEndStream, 1, empty_message);
  EXPECT_EQ(send(fd_.get(), said.data(), said.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(said.size()));
}

bool SilentPeer::AwaitAnswer() {
  // Frames are short, and come whole over a Unix socket, several at a time.
  for (;;) {
    const std::string said = Receive();
    if (said.empty()) return false;
    for (size_t at = 0; at + 9 <= said.size();) {
      if (said[at + 3] == kHeaders) return true;
      at += 9 + static_cast<unsigned char>(said[at + 1]) * 256u +
            static_cast<unsigned char>(said[at + 2]);
    }
  }
}

bool SilentPeer::AwaitEnd() {
  while (!Receive().empty()) {
  }
  return ended_;
}

std::string SilentPeer::Receive() {
  pollfd readable{fd_.get(), POLLIN, 0};
  std::array<char, 4096> said;
  if (poll(&readable, 1, kPatienceMs) != 1) return "";
  const ssize_t size = recv(fd_.get(), said.data(), said.size(), 0);
  ended_ = size <= 0;
  return ended_ ? "" : std::string(said.data(), static_cast<size_t>(size));
}

}  // namespace trapline::daemon
