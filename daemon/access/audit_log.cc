// SPDX-License-Identifier: Apache-2.0
// The audit log's lines.
#include "daemon/access/audit_log.h"

#include <sys/stat.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "daemon/access/roles.h"
#include "daemon/common/json_quote.h"
#include "daemon/common/logging.h"
#include "spdlog/sinks/rotating_file_sink.h"

namespace trapline::daemon {
namespace {

// Clients choose names, and those end up in messages too. Longer ones are no names of anything.
constexpr size_t kMaxText = 512;

// Not in the middle of a character.
std::string Shortened(const std::string& text) {
  if (text.size() <= kMaxText) return text;
  size_t end = kMaxText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// "a" of "vms/a/sites/0x1000".
std::string VmOf(const std::string& resource) {
  const std::vector<std::string> parts = absl::StrSplit(resource, absl::MaxSplits('/', 2));
  return parts.size() >= 2 && parts[0] == "vms" ? parts[1] : "";
}

std::vector<LogField> Fields(const AuditEntry& entry) {
  return {{"who", entry.caller.who},
          {"role", RoleName(entry.caller.role)},
          {"method", entry.method},
          {"vm", VmOf(Shortened(entry.resource))},
          {"resource", Shortened(entry.resource)},
          {"code", entry.code},
          {"reason", entry.reason},
          {"message", Shortened(entry.message)}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const AuditConfig& config) {
  if (config.file.empty()) return std::unique_ptr<AuditLog>(new AuditLog(nullptr));
  spdlog::file_event_handlers handlers;
  handlers.after_open = [](const spdlog::filename_t&, std::FILE* file) {
    fchmod(fileno(file), 0600);
  };
  try {
    auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        config.file, config.max_bytes, config.max_files, false, handlers);
    auto logger = std::make_shared<spdlog::logger>("audit", std::move(sink));
    logger->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ",%v})", spdlog::pattern_time_type::utc);
    logger->flush_on(spdlog::level::info);
    return std::unique_ptr<AuditLog>(new AuditLog(std::move(logger)));
  } catch (const spdlog::spdlog_ex& error) {
    return absl::UnavailableError(
        absl::StrCat("[audit] file ", config.file, " cannot be written: ", error.what()));
  }
}

void AuditLog::Write(const AuditEntry& entry) {
  if (!file_) return Log(spdlog::level::info, "audit", std::span<const LogField>(Fields(entry)));
  std::string line;
  for (const auto& [key, value] : Fields(entry))
    absl::StrAppend(&line, line.empty() ? "" : ",", "\"", key, "\":", JsonQuoted(value));
  file_->info("{}", line);
}

}  // namespace trapline::daemon
