// SPDX-License-Identifier: Apache-2.0
// Clients of a daemon's Unix socket that are other users. Takes root.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "grpcpp/channel.h"

namespace trapline::daemon {

struct User {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> more_groups{};
};

// A connection that the kernel takes for this user's; none where it was not allowed.
base::UniqueFd ConnectAs(const User& user, const std::string& socket);

// What comes of a connection: true where the server speaks, false where it hangs up.
bool IsServed(const base::UniqueFd& connection);

// A channel over one connection, which is not made again.
std::shared_ptr<grpc::Channel> ChannelAs(const User& user, const std::string& socket);

}  // namespace trapline::daemon
