// SPDX-License-Identifier: Apache-2.0
// Logs of both processes: spdlog on stderr, as text or JSON lines, with key=value fields.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <utility>

#include "spdlog/spdlog.h"

namespace trapline::daemon {

using LogField = std::pair<const char*, std::string>;

// level: trace, debug, info, warning, error. Also takes the core's log lines. Once, before any
// thread starts.
void SetUpLogging(const std::string& level, bool json);

// "message key=value ..."; in JSON the fields are members. Thread-safe.
void Log(spdlog::level::level_enum level, const std::string& message,
         std::initializer_list<LogField> fields = {});
void Log(spdlog::level::level_enum level, const std::string& message,
         std::span<const LogField> fields);

}  // namespace trapline::daemon
