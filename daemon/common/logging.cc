// SPDX-License-Identifier: Apache-2.0
// Log line formats.
#include "daemon/common/logging.h"

#include <atomic>

#include "core/base/log.h"
#include "daemon/common/json_quote.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace trapline::daemon {
namespace {

std::atomic<bool> as_json{false};

}  // namespace

void SetUpLogging(const std::string& level, bool json) {
  as_json = json;
  auto logger = spdlog::stderr_logger_mt("trapline");
  logger->set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                           : "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
  base::SetLogSink([](base::LogLevel level, std::string_view message) {
    constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                     spdlog::level::warn, spdlog::level::err};
    Log(kLevels[static_cast<size_t>(level)], std::string(message));
  });
}

void Log(spdlog::level::level_enum level, const std::string& message,
         std::initializer_list<LogField> fields) {
  Log(level, message, std::span(fields.begin(), fields.size()));
}

void Log(spdlog::level::level_enum level, const std::string& message,
         std::span<const LogField> fields) {
  std::string line = as_json ? "\"message\":" + JsonQuoted(message) : message;
  for (const auto& [key, value] : fields) {
    if (as_json) {
      line += ",\"" + std::string(key) + "\":" + JsonQuoted(value);
    } else {
      bool plain = value.find_first_of(" \"=\n") == std::string::npos && !value.empty();
      line += " " + std::string(key) + "=" + (plain ? value : JsonQuoted(value));
    }
  }
  spdlog::log(level, "{}", line);
}

}  // namespace trapline::daemon
