// SPDX-License-Identifier: Apache-2.0
// Where the daemon is, and why it does not answer.
#include "cli/address.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "cli/status.h"
#include "core/base/unique_fd.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kSystemSocket = "/run/trapline/traplined.sock";

bool IsLoopback(absl::string_view host) {
  return host == "localhost" || host == "[::1]" || absl::StartsWith(host, "127.");
}

// errno of connecting to the socket, 0 where something listens.
int ConnectErrno(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  return connect(fd.get(), generic, sizeof address) == 0 ? 0 : errno;
}

std::string StartCommand(const Address& address) {
  if (address.text == DefaultHost()) return "traplined";
  return address.unix_path.empty()
             ? absl::StrCat("traplined --listen-tcp ", address.grpc_target, " --insecure-tcp")
             : absl::StrCat("traplined --listen ", address.text);
}

absl::StatusOr<Address> ParseTcp(absl::string_view text, absl::string_view host_port) {
  const size_t colon = host_port.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(host_port.substr(colon + 1), &port) ||
      port < 1 || port > 65535) {
    return UsageError("--host", absl::StrCat("'", text, "' is neither unix:///path nor HOST:PORT"));
  }
  if (!IsLoopback(host_port.substr(0, colon))) {
    return WithHint(
        UsageError("--host", absl::StrCat("'", text,
                                          "' is not a loopback address; TCP is not encrypted yet")),
        "a tunnel reaches another machine: ssh -L 7400:/run/trapline/traplined.sock HOST, then "
        "--host localhost:7400");
  }
  return Address{std::string(text), std::string(host_port), ""};
}

}  // namespace

absl::StatusOr<Address> ParseAddress(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    absl::ConsumePrefix(&rest, "//");
    if (rest.empty() || rest.front() != '/') {
      return UsageError("--host",
                        absl::StrCat("'", text, "' needs an absolute path: unix:///path"));
    }
    if (rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return UsageError("--host",
                        absl::StrCat("'", text, "' is longer than a socket's path can be (",
                                     sizeof(sockaddr_un::sun_path) - 1, " bytes)"));
    }
    return Address{absl::StrCat("unix://", rest), absl::StrCat("unix://", rest), std::string(rest)};
  }
  absl::ConsumePrefix(&rest, "tcp://");
  return ParseTcp(text, rest);
}

std::string DefaultHost() {
  const char* runtime_dir = std::getenv("XDG_RUNTIME_DIR");
  if (runtime_dir != nullptr && *runtime_dir == '/') {
    const std::string own = absl::StrCat(runtime_dir, "/trapline/traplined.sock");
    const bool only_system =
        access(own.c_str(), F_OK) != 0 && access(kSystemSocket.data(), F_OK) == 0;
    if (!only_system) return absl::StrCat("unix://", own);
  }
  return absl::StrCat("unix://", kSystemSocket);
}

absl::Status ExplainUnreachable(const Address& address, absl::Status failure) {
  if (address.unix_path.empty()) {
    return WithHint(absl::UnavailableError(absl::StrCat("cannot reach traplined at ", address.text,
                                                        ": ", failure.message())),
                    absl::StrCat("start it with: ", StartCommand(address)));
  }
  const int error = ConnectErrno(address.unix_path);
  switch (error) {
    case 0:
      return failure;
    case EACCES:
    case EPERM:
      return WithHint(
          absl::PermissionDeniedError(absl::StrCat("the socket ", address.unix_path,
                                                   " may not be opened: ", std::strerror(error))),
          "its group may: ask to be added to it, or run the command as that user");
    case ENOENT:
    case ENOTDIR:
      return WithHint(absl::UnavailableError(absl::StrCat(
                          "traplined is not running: there is no socket ", address.unix_path)),
                      absl::StrCat("start it with: ", StartCommand(address),
                                   "\n  or say where it is with --host or TRAPLINE_HOST"));
    case ECONNREFUSED:
      return WithHint(absl::UnavailableError(absl::StrCat(
                          "traplined is not running: nothing listens on ", address.unix_path)),
                      absl::StrCat("start it with: ", StartCommand(address)));
    default:
      return absl::UnavailableError(
          absl::StrCat("cannot reach traplined at ", address.text, ": ", std::strerror(error)));
  }
}

}  // namespace trapline::cli
