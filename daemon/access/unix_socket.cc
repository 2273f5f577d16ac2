// SPDX-License-Identifier: Apache-2.0
// Makes the socket.
#include "daemon/access/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace trapline::daemon {
namespace {

absl::Status Failed(const std::string& path, const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

}  // namespace

absl::StatusOr<base::UniqueFd> ListenUnix(const std::string& path, const SocketConfig& config) {
  if (path.size() > kMaxSocketPath) {
    return absl::InvalidArgumentError(
        absl::StrCat("the socket path ", path, " is longer than ", kMaxSocketPath, " bytes"));
  }
  base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Failed(path, "make a socket for");
  unlink(path.c_str());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  // The socket's own mode is what bind makes the file with, umask apart; nobody connects before
  // listen.
  if (fchmod(fd.get(), 0600) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Failed(path, "bind to");
  const uid_t owner = config.owner.value_or(static_cast<uid_t>(-1));
  const gid_t group = config.group.value_or(static_cast<gid_t>(-1));
  if (chown(path.c_str(), owner, group) != 0) return Failed(path, "change the owner of");
  if (chmod(path.c_str(), config.mode) != 0) return Failed(path, "change the mode of");
  if (listen(fd.get(), SOMAXCONN) != 0) return Failed(path, "listen on");
  return fd;
}

absl::Status CheckListening(int fd) {
  int domain = 0, type = 0, listening = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("descriptor ", fd, " is no socket"));
  if (domain != AF_UNIX || type != SOCK_STREAM || listening == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "descriptor ", fd, " is not a Unix stream socket that listens (ListenStream= in systemd)"));
  }
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("descriptor ", fd));
  return absl::OkStatus();
}

absl::StatusOr<std::string> PathOf(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("descriptor ", fd));
  const size_t before = offsetof(sockaddr_un, sun_path);
  std::string path(address.sun_path, size <= before ? 0 : strnlen(address.sun_path, size - before));
  if (path.empty() || path.front() != '/') {
    return absl::InvalidArgumentError(absl::StrCat(
        "descriptor ", fd,
        " is bound to no absolute path, and the daemon's lock lies beside its socket's file"));
  }
  return path;
}

std::string Differences(const std::string& path, const SocketConfig& config) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0)
    return absl::StrCat("it cannot be looked at: ", strerror(errno));
  std::vector<std::string> found;
  const mode_t mode = file.st_mode & 0777;
  if (mode != config.mode)
    found.push_back(absl::StrFormat("its mode is %04o and not %04o", mode, config.mode));
  if (config.owner && file.st_uid != *config.owner)
    found.push_back(absl::StrCat("its owner is ", file.st_uid, " and not ", *config.owner));
  if (config.group && file.st_gid != *config.group)
    found.push_back(absl::StrCat("its group is ", file.st_gid, " and not ", *config.group));
  return absl::StrJoin(found, ", ");
}

}  // namespace trapline::daemon
