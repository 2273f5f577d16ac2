// SPDX-License-Identifier: Apache-2.0
// Sizes, durations, numbers and times as people write and read them.
#include "cli/units.h"

#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kSuffixes = "KMGT";

// The power of 1024 that a suffix stands for, -1 if it is none.
int SuffixPower(absl::string_view suffix) {
  if (suffix.empty() || suffix == "B") return 0;
  const size_t power = kSuffixes.find(suffix.front());
  if (power == absl::string_view::npos) return -1;
  suffix.remove_prefix(1);
  return suffix.empty() || suffix == "B" || suffix == "IB" ? static_cast<int>(power) + 1 : -1;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a size (", why,
                                                   "); write 512M, 2G or a number of bytes"));
  };
  uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return bad("too large");
  if (error != std::errc()) return bad("it does not start with a digit");
  const int power = SuffixPower(absl::AsciiStrToUpper(text.substr(rest - text.data())));
  if (power < 0) return bad("unknown unit");
  const uint64_t unit = uint64_t{1} << (10 * power);
  if (value > UINT64_MAX / unit) return bad("too large");
  return value * unit;
}

std::string FormatSize(uint64_t bytes) {
  int power = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && power < static_cast<int>(kSuffixes.size())) {
    value /= 1024;
    ++power;
  }
  const std::string unit = power == 0 ? "B" : std::string(1, kSuffixes[power - 1]);
  const bool whole = value == static_cast<double>(static_cast<uint64_t>(value));
  return whole ? absl::StrCat(static_cast<uint64_t>(value), unit)
               : absl::StrFormat("%.1f%s", value, unit);
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::Duration duration;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not a duration; write 30s, 1m30s, 500ms or seconds"));
  }
  if (!(duration >= absl::ZeroDuration())) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is negative"));
  }
  return duration;
}

absl::StatusOr<uint64_t> ParseNumber(absl::string_view text) {
  absl::string_view digits = text;
  const int base =
      absl::ConsumePrefix(&digits, "0x") || absl::ConsumePrefix(&digits, "0X") ? 16 : 10;
  uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value, base);
  if (error != std::errc() || rest != end) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not a number; write 4096 or 0x1000"));
  }
  return value;
}

std::string Hex(uint64_t value) { return absl::StrFormat("0x%x", value); }

std::string Grouped(uint64_t value) {
  const std::string digits = absl::StrCat(value);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

std::string Age(absl::Duration age) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(age));
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, "m");
  if (seconds < 48 * 3600) return absl::StrCat(seconds / 3600, "h");
  return absl::StrCat(seconds / 86400, "d");
}

}  // namespace trapline::cli
