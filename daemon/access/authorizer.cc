// SPDX-License-Identifier: Apache-2.0
// Roles from identities, and answers from roles.
#include "daemon/access/authorizer.h"

#include <errno.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "daemon/access/roles.h"
#include "daemon/common/errors.h"

namespace trapline::daemon {
namespace {

// A certificate may have very many names; logs and messages get by with a few short ones.
constexpr size_t kShownSans = 4, kShownLength = 128;

std::string Describe(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry, *found = nullptr;
  getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return found == nullptr ? absl::StrCat("user ", uid)
                          : absl::StrCat("user ", uid, " (", found->pw_name, ")");
}

std::string Describe(const std::vector<San>& sans) {
  std::vector<std::string> shown;
  for (const San& san : sans) {
    if (shown.size() == kShownSans) break;
    shown.push_back(absl::StrCat(san.kind, ":", san.name.substr(0, kShownLength)));
  }
  return absl::StrCat("certificate ", shown.empty() ? "without names" : absl::StrJoin(shown, ", "));
}

bool Includes(const Grant& grant, const Peer& peer) {
  return grant.users.contains(peer.uid) ||
         std::any_of(peer.groups.begin(), peer.groups.end(),
                     [&](gid_t group) { return grant.groups.contains(group); });
}

bool Includes(const Grant& grant, const std::vector<San>& sans) {
  return std::any_of(grant.sans.begin(), grant.sans.end(), [&](const SanPattern& pattern) {
    return std::any_of(sans.begin(), sans.end(),
                       [&](const San& san) { return pattern.Matches(san); });
  });
}

template <typename Identity>
v1::Role HighestRole(const AccessConfig& config, const Identity& identity) {
  v1::Role role = v1::ROLE_UNSPECIFIED;
  for (const auto& [granted, grant] : config.grants) {
    if (granted > role && Includes(grant, identity)) role = granted;
  }
  return role;
}

bool Beneath(const std::filesystem::path& path, const std::filesystem::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first ==
         directory.end();
}

}  // namespace

Authorizer::Authorizer(AccessConfig config) : config_(std::move(config)) {}

Caller Authorizer::Identify(const Peer& peer) const {
  const bool own = peer.uid == 0 || peer.uid == geteuid();
  return {Describe(peer.uid), own ? v1::ROLE_ADMIN : HighestRole(config_, peer)};
}

Caller Authorizer::Identify(const std::vector<San>& sans) const {
  return {Describe(sans), HighestRole(config_, sans)};
}

grpc::Status Authorizer::Check(const Caller& caller,
                               const google::protobuf::MethodDescriptor& method) const {
  const v1::Role needed = RequiredRole(method);
  if (Suffices(caller.role, needed)) return grpc::Status::OK;
  const std::string name = absl::StrCat(method.service()->full_name(), "/", method.name());
  const std::string who = caller.who.empty() ? "a caller of unknown identity" : caller.who;
  const std::string has = RoleName(caller.role), needs = RoleName(needed);
  return Error(
      grpc::PERMISSION_DENIED, "ROLE_REQUIRED",
      absl::StrCat(name, " needs the role ", needs, "; ", who,
                   caller.role == v1::ROLE_UNSPECIFIED ? " has none" : absl::StrCat(" has ", has)),
      {{"method", name}, {"required_role", needs}, {"role", has}, {"caller", who}});
}

bool Authorizer::ConfinesImages(const Caller& caller) const {
  return config_.image_directories && !Suffices(caller.role, v1::ROLE_ADMIN);
}

grpc::Status Authorizer::ConfineImage(const Caller& caller, const std::string& field,
                                      std::string* path) const {
  if (!ConfinesImages(caller)) return grpc::Status::OK;
  // What is no absolute path is refused by everyone.
  if (path->empty() || path->front() != '/') return grpc::Status::OK;
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(*path, error);
  const auto& directories = *config_.image_directories;
  if (!error &&
      std::any_of(directories.begin(), directories.end(),
                  [&](const std::string& directory) { return Beneath(real, directory); })) {
    *path = real.string();
    return grpc::Status::OK;
  }
  const std::string allowed = absl::StrJoin(directories, ", ");
  return Error(grpc::PERMISSION_DENIED, "IMAGE_NOT_ALLOWED",
               absl::StrCat(field, ": ", *path,
                            " is no file in the directories that images may come "
                            "from (",
                            allowed, "); only an admin may use others"),
               {{"field", field}, {"path", *path}, {"directories", allowed}});
}

absl::StatusOr<Peer> PeerOf(int socket) {
  ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return absl::ErrnoToStatus(errno, "SO_PEERCRED");
  Peer peer{credentials.uid, std::vector<gid_t>(16)};
  for (;;) {
    size = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size) == 0) break;
    if (errno != ERANGE) return absl::ErrnoToStatus(errno, "SO_PEERGROUPS");
    peer.groups.resize(size / sizeof(gid_t));
  }
  peer.groups.resize(size / sizeof(gid_t));
  peer.groups.push_back(credentials.gid);
  return peer;
}

}  // namespace trapline::daemon
