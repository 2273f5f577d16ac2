// SPDX-License-Identifier: Apache-2.0
// Where a daemon is, and why it does not answer.
#include "cli/address.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "cli/status.h"
#include "core/base/host_port.h"
#include "core/base/unique_fd.h"

namespace trapline::cli {
namespace {

constexpr int kPatienceMs = 1000;
constexpr absl::string_view kSystemSocket = "/run/trapline/traplined.sock";

bool IsLoopback(absl::string_view host) {
  // Not 127.example, which is anyone's.
  const bool number = host.find_first_not_of("0123456789.") == absl::string_view::npos;
  return host == "localhost" || host == "::1" || (number && absl::StartsWith(host, "127."));
}

// What comes of connecting to a socket.
struct Attempt {
  int error;     // 0 where something listens
  bool refused;  // it accepted and hung up, as traplined does where it knows of no role
};

Attempt Connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (connect(fd.get(), generic, sizeof address) != 0) return {errno, false};
  // HTTP/2 has its server speak at once.
  pollfd answer{fd.get(), POLLIN, 0};
  char byte;
  const bool hung_up = poll(&answer, 1, kPatienceMs) == 1 && recv(fd.get(), &byte, 1, 0) <= 0;
  return {0, hung_up};
}

absl::Status NoRole(const Address& address) {
  return WithHint(
      absl::PermissionDeniedError(absl::StrCat("traplined at ", address.text, " hung up: user ",
                                               geteuid(),
                                               " has no role there, or too many connections")),
      "an administrator gives roles in the [access] sections of traplined's configuration, and its "
      "audit log has the reason");
}

std::string StartCommand(const Address& address) {
  if (address.text == DefaultHost()) return "traplined";
  return absl::StrCat("traplined --listen ", address.text);
}

absl::StatusOr<Address> ParseTcp(absl::string_view text, absl::string_view host_port) {
  const auto parsed = base::ParseHostPort({host_port.data(), host_port.size()});
  if (!parsed || parsed->host.empty() || parsed->port == 0) {
    return UsageError(
        "--host",
        absl::StrCat("'", text, "' is neither unix:///path nor HOST:PORT (or [IPV6]:PORT)"));
  }
  return Address{std::string(text), std::string(host_port), "", IsLoopback(parsed->host)};
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

absl::Status ExplainUnreachable(const Address& address, const std::string& where,
                                const absl::Status& failure) {
  if (address.unix_path.empty()) {
    return WithHint(absl::UnavailableError(
                        absl::StrCat("cannot reach traplined at ", where, ": ", failure.message())),
                    "traplined speaks TLS there, which takes --ca-cert, --cert and --key; without "
                    "them only a tunnel to its Unix socket does");
  }
  const Attempt attempt = Connect(address.unix_path);
  switch (attempt.error) {
    case 0:
      return attempt.refused ? NoRole(address) : failure;
    case EACCES:
    case EPERM:
      return WithHint(absl::PermissionDeniedError(
                          absl::StrCat("the socket ", address.unix_path,
                                       " may not be opened: ", std::strerror(attempt.error))),
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
          absl::StrCat("cannot reach traplined at ", where, ": ", std::strerror(attempt.error)));
  }
}

}  // namespace trapline::cli
