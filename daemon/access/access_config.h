// SPDX-License-Identifier: Apache-2.0
// The configuration file: who has which role, the socket, TLS, the audit log, image directories,
// limits.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/access/san_pattern.h"
#include "trapline/v1/access.pb.h"

namespace trapline::daemon {

// [access.ROLE]: whom that role is given to.
struct Grant {
  std::set<uid_t> users;
  std::set<gid_t> groups;
  std::vector<SanPattern> sans;
};

// [socket]
struct SocketConfig {
  std::optional<uid_t> owner;  // nullopt: as the daemon's process has it
  std::optional<gid_t> group;
  mode_t mode = 0600;
  // How many users may be told apart as long as the daemon runs, and how many connections each of
  // them may have open.
  uint32_t max_users = 64, max_connections_per_user = 1024;
};

// [tls]
struct TlsConfig {
  std::string certificate, key, client_ca;  // paths; all empty: no TCP
  // How many connections may be open, and how many of them from one address.
  uint32_t max_connections = 1024, max_connections_per_address = 256;
};

// [audit]
struct AuditConfig {
  std::string file;  // empty: the daemon's own log
  uint64_t max_bytes = 16 << 20;
  uint32_t max_files = 8;
};

// [limits]
struct LimitsConfig {
  // Of one caller, under way at once: calls, which hold a thread each, and streams and waits, which
  // do not.
  uint32_t max_calls_per_caller = 256, max_streams_per_caller = 2048;
  // How long a connection may be silent before it is asked whether it is there, and how long its
  // answer may take.
  uint32_t keepalive_seconds = 60, keepalive_timeout_seconds = 20;
};

struct AccessConfig {
  std::map<v1::Role, Grant> grants;
  SocketConfig socket;
  TlsConfig tls;
  AuditConfig audit;
  LimitsConfig limits;
  // [images]: the only directories that an operator's images may lie in; nullopt: anywhere.
  std::optional<std::vector<std::string>> image_directories;
};

// INVALID_ARGUMENT: what is wrong, with the file, the line and the key. Names of users and groups
// are looked up.
absl::StatusOr<AccessConfig> ParseAccessConfig(std::string_view text, const std::string& name);
// Also NOT_FOUND or PERMISSION_DENIED.
absl::StatusOr<AccessConfig> LoadAccessConfig(const std::string& path);

}  // namespace trapline::daemon
