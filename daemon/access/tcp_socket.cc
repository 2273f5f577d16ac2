// SPDX-License-Identifier: Apache-2.0
// Makes the sockets.
#include "daemon/access/tcp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/host_port.h"

namespace trapline::daemon {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> LookUp(const std::string& host_port) {
  const auto parsed = base::ParseHostPort(host_port);
  if (!parsed || parsed->host.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        host_port, " is not of the form ADDRESS:PORT, such as 0.0.0.0:7443 or [::]:7443"));
  }
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(parsed->host.c_str(), absl::StrCat(parsed->port).c_str(), &hints, &found);
  if (error == 0) return Addresses(found, freeaddrinfo);
  return absl::InvalidArgumentError(
      absl::StrCat(host_port, ": no address of ", parsed->host, ": ", gai_strerror(error)));
}

// sockaddr_in and sockaddr_in6 have the port at one place.
in_port_t& PortIn(sockaddr* address) { return reinterpret_cast<sockaddr_in*>(address)->sin_port; }

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(PortIn(reinterpret_cast<sockaddr*>(&address)));
}

// Not valid, and errno: cannot. Connections inherit TCP_NODELAY: calls are small, and each waits
// for its answer.
base::UniqueFd Listen(const addrinfo& address, bool only_ipv6) {
  base::UniqueFd fd(
      socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  auto set = [&](int level, int option, int value) {
    return setsockopt(fd.get(), level, option, &value, sizeof value) == 0;
  };
  const bool ipv6 = address.ai_family == AF_INET6;
  if (!fd.valid() || !set(SOL_SOCKET, SO_REUSEADDR, 1) || !set(IPPROTO_TCP, TCP_NODELAY, 1) ||
      (ipv6 && !set(IPPROTO_IPV6, IPV6_V6ONLY, only_ipv6 ? 1 : 0)) ||
      bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || listen(fd.get(), SOMAXCONN) != 0)
    return {};
  return fd;
}

}  // namespace

absl::StatusOr<TcpListeners> ListenTcp(const std::string& host_port) {
  auto addresses = LookUp(host_port);
  if (!addresses.ok()) return addresses.status();
  const bool several = (*addresses)->ai_next != nullptr;
  TcpListeners listeners;
  auto cannot = [&](int error) {
    return absl::ErrnoToStatus(error, absl::StrCat("cannot listen on ", host_port));
  };
  int error = 0;
  for (addrinfo* address = addresses->get(); address != nullptr; address = address->ai_next) {
    if (listeners.port != 0)
      PortIn(address->ai_addr) = htons(static_cast<uint16_t>(listeners.port));
    base::UniqueFd socket = Listen(*address, several);
    if (socket.valid()) {
      listeners.port = PortOf(socket.get());
      listeners.sockets.push_back(std::move(socket));
      continue;
    }
    error = errno;
    // A name such as localhost has addresses of protocols that this machine may not speak.
    if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT) return cannot(error);
  }
  if (listeners.sockets.empty()) return cannot(error);
  return listeners;
}

std::string NetworkOf(int connection) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (getpeername(connection, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (peer.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(peer).sin_addr;
    return inet_ntop(AF_INET, &address, text.data(), text.size());
  }
  in6_addr address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    return inet_ntop(AF_INET, address.s6_addr + 12, text.data(), text.size());
  }
  std::memset(address.s6_addr + 8, 0, 8);
  return absl::StrCat(inet_ntop(AF_INET6, &address, text.data(), text.size()), "/64");
}

}  // namespace trapline::daemon
