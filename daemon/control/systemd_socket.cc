// SPDX-License-Identifier: Apache-2.0
// sd_listen_fds(3), and what is made of what it says.
#include "daemon/control/systemd_socket.h"

#include <string.h>
#include <systemd/sd-daemon.h>

#include "absl/strings/str_cat.h"
#include "daemon/access/unix_socket.h"

namespace trapline::daemon {

absl::StatusOr<ActivatedSocket> TakeActivatedSocket() {
  const int count = sd_listen_fds(/*unset_environment=*/1);
  if (count == 0) return ActivatedSocket{};
  if (count < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sockets that systemd passes ($LISTEN_FDS): ", strerror(-count)));
  }
  if (count > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("systemd passes ", count,
                     " sockets, and one is served; leave one ListenStream= in the socket unit, and "
                     "use --listen-tcp for TCP"));
  }
  ActivatedSocket socket{base::UniqueFd(SD_LISTEN_FDS_START), ""};
  if (auto status = CheckListening(socket.fd.get()); !status.ok()) return status;
  auto path = PathOf(socket.fd.get());
  if (!path.ok()) return path.status();
  socket.path = *std::move(path);
  return socket;
}

}  // namespace trapline::daemon
