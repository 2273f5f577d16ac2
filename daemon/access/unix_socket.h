// SPDX-License-Identifier: Apache-2.0
// The Unix socket that the API listens on.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"
#include "daemon/access/access_config.h"

namespace trapline::daemon {

constexpr size_t kMaxSocketPath = 107;  // sockaddr_un

// Binds, with owner, group and mode as configured from its first moment on, and listens. Whatever
// is at the path is replaced.
absl::StatusOr<base::UniqueFd> ListenUnix(const std::string& path, const SocketConfig& config);

// INVALID_ARGUMENT where the descriptor that the daemon was started with is not a Unix stream
// socket that listens.
absl::Status CheckListening(int fd);

// What a Unix socket is bound to. INVALID_ARGUMENT where that is no file.
absl::StatusOr<std::string> PathOf(int fd);

// What the file of a socket that somebody else has made has otherwise than configured: "its mode is
// 0600 and not 0660"; empty where nothing is.
std::string Differences(const std::string& path, const SocketConfig& config);

}  // namespace trapline::daemon
