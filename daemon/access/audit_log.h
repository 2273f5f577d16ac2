// SPDX-License-Identifier: Apache-2.0
// Who did what to which VM, and what came of it: one JSON object a line.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "daemon/access/access_config.h"
#include "daemon/access/caller.h"
#include "spdlog/logger.h"

namespace trapline::daemon {

struct AuditEntry {
  Caller caller;
  std::string method;    // "trapline.v1.Vms/StopVm"; "connect" for a connection
  std::string resource;  // "vms/a", "vms/a/sites/0x1000"; empty where the call names none
  std::string code, reason, message;  // how it ended; a reason of ErrorInfo's, if it has one
};

// Thread-safe.
class AuditLog {
 public:
  // The file, readable by its owner alone, is moved aside when it is full. Without a file entries
  // go to the daemon's own log, as an event "audit" with the entry's members as fields.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const AuditConfig& config);

  void Write(const AuditEntry& entry);

 private:
  explicit AuditLog(std::shared_ptr<spdlog::logger> file) : file_(std::move(file)) {}

  const std::shared_ptr<spdlog::logger> file_;  // null: the daemon's log
};

}  // namespace trapline::daemon
