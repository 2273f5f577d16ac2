// SPDX-License-Identifier: Apache-2.0
// Reads the configuration, section by section.
#include "daemon/access/access_config.h"

#include <grp.h>
#include <pwd.h>

#include <filesystem>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/toml_file.h"
#include "daemon/access/roles.h"

namespace trapline::daemon {
namespace {

using config::Table;

// A number, or a name that `lookup` knows.
template <typename Id, typename Lookup>
std::optional<Id> IdOf(const Table& table, const std::string& key, const std::string& text,
                       const char* what, Lookup lookup) {
  // The last number stands for "leave it as it is" in chown, so it is nobody's.
  Id id = 0;
  if (absl::SimpleAtoi(text, &id) && id != static_cast<Id>(-1)) return id;
  if (std::optional<Id> found = lookup(text.c_str())) return found;
  table.Refuse(key, absl::StrCat("names \"", text, "\", which is no ", what,
                                 " of this machine; a number is taken as it is"));
  return std::nullopt;
}

std::optional<uid_t> User(const Table& table, const std::string& key, const std::string& text) {
  return IdOf<uid_t>(table, key, text, "user", [](const char* name) -> std::optional<uid_t> {
    const passwd* found = getpwnam(name);
    return found == nullptr ? std::nullopt : std::make_optional(found->pw_uid);
  });
}

std::optional<gid_t> Group(const Table& table, const std::string& key, const std::string& text) {
  return IdOf<gid_t>(table, key, text, "group", [](const char* name) -> std::optional<gid_t> {
    const group* found = getgrnam(name);
    return found == nullptr ? std::nullopt : std::make_optional(found->gr_gid);
  });
}

Grant ReadGrant(const Table& table) {
  Grant grant;
  for (const std::string& user : table.Texts("users")) {
    if (auto id = User(table, "users", user)) grant.users.insert(*id);
  }
  for (const std::string& group : table.Texts("groups")) {
    if (auto id = Group(table, "groups", group)) grant.groups.insert(*id);
  }
  for (const std::string& san : table.Texts("sans")) {
    auto pattern = SanPattern::Parse(san);
    if (pattern.ok()) {
      grant.sans.push_back(*pattern);
    } else {
      table.Refuse("sans", std::string(pattern.status().message()));
    }
  }
  return grant;
}

SocketConfig ReadSocket(const Table& table) {
  SocketConfig out;
  if (table.Has("owner")) out.owner = User(table, "owner", table.Name("owner"));
  if (table.Has("group")) out.group = Group(table, "group", table.Name("group"));
  const std::string mode = table.Text("mode", out.group ? "0660" : "0600");
  size_t end = 0;
  unsigned long bits = 01000;
  if (!mode.empty() && mode.find_first_not_of("01234567") == std::string::npos && mode.size() <= 4)
    bits = std::stoul(mode, &end, 8);
  if (bits > 0777) {
    table.Refuse("mode", absl::StrCat("\"", mode, "\" is not a mode, such as \"0660\""));
  } else {
    out.mode = static_cast<mode_t>(bits);
  }
  out.max_users = static_cast<uint32_t>(table.Number("max_users", out.max_users, 1, 1024));
  out.max_connections_per_user = static_cast<uint32_t>(
      table.Number("max_connections_per_user", out.max_connections_per_user, 1, 65536));
  return out;
}

std::string Path(const Table& table, const std::string& key) {
  std::string path = table.Text(key);
  if (table.Has(key) && (path.empty() || path.front() != '/'))
    table.Refuse(key, absl::StrCat("\"", path, "\" is not an absolute path"));
  return path;
}

TlsConfig ReadTls(const Table& parent) {
  const Table table = parent.Sub("tls");
  TlsConfig out;
  out.certificate = Path(table, "certificate");
  out.key = Path(table, "key");
  out.client_ca = Path(table, "client_ca");
  auto connections = [&](const char* key, uint32_t* value) {
    *value = static_cast<uint32_t>(table.Number(key, *value, 1, 65536));
  };
  connections("max_connections", &out.max_connections);
  connections("max_connections_per_address", &out.max_connections_per_address);
  if (!parent.Has("tls")) return out;
  for (const char* key : {"certificate", "key", "client_ca"}) {
    if (!table.Has(key)) table.Refuse(key, "is missing; TLS takes certificate, key and client_ca");
  }
  return out;
}

AuditConfig ReadAudit(const Table& table) {
  AuditConfig out;
  out.file = Path(table, "file");
  out.max_bytes = static_cast<uint64_t>(
      table.Number("max_bytes", static_cast<int64_t>(out.max_bytes), 64 << 10, int64_t{64} << 30));
  out.max_files = static_cast<uint32_t>(table.Number("max_files", out.max_files, 1, 1000));
  return out;
}

LimitsConfig ReadLimits(const Table& table) {
  LimitsConfig out;
  auto read = [&](const char* key, uint32_t* value, int64_t most) {
    *value = static_cast<uint32_t>(table.Number(key, *value, 1, most));
  };
  read("max_calls_per_caller", &out.max_calls_per_caller, 512);
  read("max_streams_per_caller", &out.max_streams_per_caller, 65536);
  read("keepalive_seconds", &out.keepalive_seconds, 7200);
  read("keepalive_timeout_seconds", &out.keepalive_timeout_seconds, 600);
  return out;
}

// As they are once links are followed, since that is how images are compared with them.
std::optional<std::vector<std::string>> ReadImages(const Table& table) {
  if (!table.Has("directories")) return std::nullopt;
  std::vector<std::string> out;
  for (const std::string& directory : table.Texts("directories")) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(directory, error);
    if (error || directory.front() != '/' || !std::filesystem::is_directory(real, error)) {
      table.Refuse("directories", absl::StrCat("names \"", directory,
                                               "\", which is not the absolute path of a directory",
                                               error ? ": " : "", error ? error.message() : ""));
    } else {
      out.push_back(real.string());
    }
  }
  return out;
}

absl::StatusOr<AccessConfig> Read(absl::StatusOr<std::unique_ptr<config::TomlFile>> file) {
  if (!file.ok()) return file.status();
  const Table root = (*file)->root();
  AccessConfig out;
  const Table access = root.Sub("access");
  for (v1::Role role : {v1::ROLE_VIEWER, v1::ROLE_OPERATOR, v1::ROLE_ADMIN})
    out.grants[role] = ReadGrant(access.Sub(RoleName(role)));
  out.socket = ReadSocket(root.Sub("socket"));
  out.tls = ReadTls(root);
  out.audit = ReadAudit(root.Sub("audit"));
  out.limits = ReadLimits(root.Sub("limits"));
  out.image_directories = ReadImages(root.Sub("images"));
  if (absl::Status status = (*file)->Check(); !status.ok()) return status;
  return out;
}

}  // namespace

absl::StatusOr<AccessConfig> ParseAccessConfig(std::string_view text, const std::string& name) {
  return Read(config::TomlFile::Parse(text, name));
}

absl::StatusOr<AccessConfig> LoadAccessConfig(const std::string& path) {
  return Read(config::TomlFile::Load(path));
}

}  // namespace trapline::daemon
