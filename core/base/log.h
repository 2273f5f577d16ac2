// SPDX-License-Identifier: Apache-2.0
// The logging hook: core code reports through it, the process that links core decides where it
// goes.
#pragma once

#include <functional>
#include <string_view>

namespace trapline::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, std::string_view message)>;

// Replaces the sink; the default writes warnings and errors to stderr. Call once, before any thread
// is started.
void SetLogSink(LogSink sink);

// Sends one line to the sink. Thread-safe if the sink is.
void Log(LogLevel level, std::string_view message);

}  // namespace trapline::base
