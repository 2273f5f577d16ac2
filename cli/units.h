// SPDX-License-Identifier: Apache-2.0
// Sizes, durations, numbers and times as people write and read them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace trapline::cli {

// "512M", "2G", "64KiB", "4096": bytes; suffixes are powers of 1024. INVALID_ARGUMENT on anything
// else, or on overflow.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// "512M" where it divides evenly, else one decimal: "1.5G".
std::string FormatSize(uint64_t bytes);

// "30s", "1m30s", "500ms", or plain seconds: "30". Not negative.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// Decimal, or hexadecimal after 0x.
absl::StatusOr<uint64_t> ParseNumber(absl::string_view text);

// "0x" and lower-case digits.
std::string Hex(uint64_t value);

// 1234567 -> "1,234,567".
std::string Grouped(uint64_t value);

// How long ago in one unit: "12s", "3m", "5h", "2d".
std::string Age(absl::Duration age);

}  // namespace trapline::cli
