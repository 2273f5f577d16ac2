// SPDX-License-Identifier: Apache-2.0
// The one place that decides: which role somebody has, and whether it is enough.
#pragma once

#include <sys/types.h>

#include <vector>

#include "daemon/access/access_config.h"
#include "daemon/access/caller.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/support/status.h"

namespace trapline::daemon {

// The other end of a Unix socket, as the kernel tells.
struct Peer {
  uid_t uid;
  std::vector<gid_t> groups;  // its own and the supplementary ones
};

// Thread-safe: never changes.
class Authorizer {
 public:
  explicit Authorizer(AccessConfig config);

  // The highest role that the user or a group of its has been given. Root and the daemon's own user
  // are admins, as either could replace the daemon.
  Caller Identify(const Peer& peer) const;
  // The same of a certificate that TLS has verified.
  Caller Identify(const std::vector<San>& sans) const;

  // PERMISSION_DENIED, with the roles that the caller has and needs, unless it may call this.
  grpc::Status Check(const Caller& caller, const google::protobuf::MethodDescriptor& method) const;
  // Whether ConfineImage says anything to that caller.
  bool ConfinesImages(const Caller& caller) const;
  // A file that a VM is to be made from: of those who are no admins it has to lie beneath one of
  // the directories, once links are followed, and the path becomes what they lead to.
  // PERMISSION_DENIED otherwise, whether it exists or not. field: as in the request.
  grpc::Status ConfineImage(const Caller& caller, const std::string& field,
                            std::string* path) const;

  const AccessConfig& config() const { return config_; }

 private:
  const AccessConfig config_;
};

// Reads SO_PEERCRED and SO_PEERGROUPS.
absl::StatusOr<Peer> PeerOf(int socket);

}  // namespace trapline::daemon
