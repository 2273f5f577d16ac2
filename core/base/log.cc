// SPDX-License-Identifier: Apache-2.0
// The logging hook's one variable.
#include "core/base/log.h"

#include <cstdio>
#include <utility>

namespace trapline::base {
namespace {

LogSink& Sink() {
  static LogSink sink = [](LogLevel level, std::string_view message) {
    if (level < LogLevel::kWarning) return;
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  };
  return sink;
}

}  // namespace

void SetLogSink(LogSink sink) { Sink() = std::move(sink); }

void Log(LogLevel level, std::string_view message) { Sink()(level, message); }

}  // namespace trapline::base
