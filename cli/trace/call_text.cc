// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line, in strace's manner.
#include "cli/trace/call_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "core/guest/abi.h"
#include "core/guest/hypercalls.h"

namespace trapline::cli {
namespace {

using guest::Show;

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int64_t kLargestSmall = 0xffff;  // above it a result is rather an address or bits
constexpr uint64_t kNever = ~uint64_t{0};

// Debian's Abseil has a string_view of its own.
absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

void AppendHex(uint64_t value, std::string& out) { absl::StrAppend(&out, "0x", absl::Hex(value)); }

void AppendWide(uint64_t low, uint64_t high, std::string& out) {
  if (high == 0) return AppendHex(low, out);
  absl::StrAppend(&out, "0x", absl::Hex(high), absl::Hex(low, absl::kZeroPad16));
}

void AppendTimeValue(uint64_t ns, std::string& out) {
  if (ns == kNever) {
    absl::StrAppend(&out, "never");
  } else {
    absl::StrAppend(&out, ns / kNanosecondsPerSecond, ".",
                    absl::Dec(ns % kNanosecondsPerSecond, absl::kZeroPad9), "s");
  }
}

void AppendEvent(uint64_t event, std::string& out) {
  switch (event) {
    case TRAPLINE_EVENT_TIMER:
      return absl::StrAppend(&out, "TIMER");
    case TRAPLINE_EVENT_CONSOLE:
      return absl::StrAppend(&out, "CONSOLE");
    case TRAPLINE_EVENT_POWER:
      return absl::StrAppend(&out, "POWER");
    default:
      return absl::StrAppend(&out, event);
  }
}

void AppendTechnique(uint64_t technique, std::string& out) {
  switch (technique) {
    case TRAPLINE_TECHNIQUE_EMULATE:
      return absl::StrAppend(&out, "emulate");
    case TRAPLINE_TECHNIQUE_INTERRUPT:
      return absl::StrAppend(&out, "interrupt");
    case TRAPLINE_TECHNIQUE_LINKED:
      return absl::StrAppend(&out, "linked");
    default:
      return absl::StrAppend(&out, technique);
  }
}

// One byte as strace quotes it. Three octal digits always, so that a digit behind them is no part
// of them; nothing but printable ASCII goes out.
void AppendQuotedByte(unsigned char byte, std::string& out) {
  switch (byte) {
    case '\n':
      return absl::StrAppend(&out, "\\n");
    case '\r':
      return absl::StrAppend(&out, "\\r");
    case '\t':
      return absl::StrAppend(&out, "\\t");
    case '"':
    case '\\':
      out.push_back('\\');
      out.push_back(static_cast<char>(byte));
      return;
    default:
      break;
  }
  if (absl::ascii_isprint(byte)) {
    out.push_back(static_cast<char>(byte));
  } else {
    for (const int shift : {6, 3, 0}) {
      if (shift == 6) out.push_back('\\');
      out.push_back(static_cast<char>('0' + (byte >> shift & 7)));
    }
  }
}

void AppendBytes(uint64_t bytes, uint64_t count, std::string& out) {
  if (count > sizeof bytes) return AppendHex(bytes, out);  // refused by the service
  out.push_back('"');
  for (uint64_t i = 0; i < count; ++i)
    AppendQuotedByte(static_cast<unsigned char>(bytes >> (8 * i)), out);
  out.push_back('"');
}

// `next` is the argument behind it.
void AppendValue(Show show, uint64_t value, uint64_t next, std::string& out) {
  switch (show) {
    case Show::kDecimal:
      return absl::StrAppend(&out, value);
    case Show::kHex:
      return AppendHex(value, out);
    case Show::kWide:
      return AppendWide(value, next, out);
    case Show::kTime:
      return AppendTimeValue(value, out);
    case Show::kEvent:
      return AppendEvent(value, out);
    case Show::kTechnique:
      return AppendTechnique(value, out);
    case Show::kText:
      return AppendBytes(value, next, out);
  }
}

void AppendName(const TracedCall& call, std::string& out) {
  const guest::Hypercall* known = guest::FindHypercall(call.number);
  if (known != nullptr) {
    absl::StrAppend(&out, View(known->name));
  } else {
    absl::StrAppend(&out, "hypercall_", call.number);
  }
}

std::string Place(const std::string& symbol, uint64_t gva) {
  return symbol.empty() ? Hex(gva) : Printable(symbol);
}
std::string PlaceOf(const TracedSite& site) { return Place(site.symbol, site.gva); }

// The dearer the redder.
Colour PathColour(uint8_t path) {
  switch (path) {
    case v1::TECHNIQUE_EMULATE:
      return Colour::kYellow;
    case v1::TECHNIQUE_LINKED:
      return Colour::kGreen;
    default:
      return Colour::kCyan;
  }
}

void AppendGuestTime(uint64_t ns, std::string& out) {
  absl::StrAppend(&out, ns / kNanosecondsPerSecond, ".",
                  absl::Dec(ns % kNanosecondsPerSecond / 1000, absl::kZeroPad6), " ");
}

// All but the time.
void AppendLine(const TracedCall& call, absl::string_view place, bool colour, std::string& out) {
  absl::StrAppend(&out, "[vcpu ", call.vcpu, "] ");
  {
    const Painted bold(Colour::kBold, colour, out);
    AppendName(call, out);
  }
  out.push_back('(');
  AppendArguments(call, out);
  absl::StrAppend(&out, ") = ");
  {
    const Painted red(guest::IsError(call.result) ? Colour::kRed : Colour::kPlain, colour, out);
    AppendResult(call, out);
  }
  absl::StrAppend(&out, "  <");
  {
    const Painted path(PathColour(call.path), colour, out);
    absl::StrAppend(&out, PathName(call.path));
  }
  absl::StrAppend(&out, " ", call.cycles, " cyc> ", place);
}

// As far as it has room: what a daemon sends fits.
TracedCall CallOf(const v1::TraceRecord& record) {
  TracedCall call{
      .guest_ns = static_cast<uint64_t>(record.guest_time().seconds()) * kNanosecondsPerSecond +
                  static_cast<uint64_t>(record.guest_time().nanos()),
      .number = record.number(),
      .result = record.result(),
      .cycles = static_cast<uint32_t>(std::min<uint64_t>(record.cycles(), UINT32_MAX)),
      .vcpu = static_cast<uint16_t>(std::min<uint32_t>(record.vcpu(), UINT16_MAX)),
      .path = static_cast<uint8_t>(record.path()),
      .cpl = static_cast<uint8_t>(record.cpl())};
  const auto count = std::min<size_t>(record.arguments().size(), std::size(call.arguments));
  std::copy_n(record.arguments().begin(), count, call.arguments);
  return call;
}

}  // namespace

std::string RecordText(const v1::TraceRecord& record) {
  const TracedCall call = CallOf(record);
  std::string out;
  AppendGuestTime(call.guest_ns, out);
  AppendLine(call, Place(record.symbol(), record.gva()), false, out);
  return out;
}

void AppendArguments(const TracedCall& call, std::string& out) {
  static constexpr guest::Hypercall kUnknown{.argument_count = 4};
  const guest::Hypercall* found = guest::FindHypercall(call.number);
  const guest::Hypercall& known = found == nullptr ? kUnknown : *found;
  for (unsigned i = 0; i < known.argument_count; ++i) {
    const guest::Argument& argument = known.arguments[i];
    if (i > 0) absl::StrAppend(&out, ", ");
    if (!argument.name.empty()) absl::StrAppend(&out, View(argument.name), "=");
    const uint64_t next = i + 1 < known.argument_count ? call.arguments[i + 1] : 0;
    AppendValue(argument.show, call.arguments[i], next, out);
    if (argument.show == Show::kWide) ++i;
  }
}

void AppendResult(const TracedCall& call, std::string& out) {
  const auto value = static_cast<uint64_t>(call.result);
  if (guest::IsError(call.result)) {
    const absl::string_view name = View(guest::ErrorName(call.result));
    absl::StrAppend(&out, call.result, name.empty() ? "" : " ", name);
    return;
  }
  const guest::Hypercall* known = guest::FindHypercall(call.number);
  const Show show = known == nullptr ? Show::kDecimal : known->result;
  const bool large = call.result < 0 || call.result > kLargestSmall;
  AppendValue(show == Show::kDecimal && large ? Show::kHex : show, value, 0, out);
}

absl::string_view PathName(uint8_t path) {
  switch (path) {
    case v1::TECHNIQUE_EMULATE:
      return "trap";
    case v1::TECHNIQUE_INTERRUPT:
      return "interrupt";
    case v1::TECHNIQUE_LINKED:
      return "linked";
    default:
      return "?";
  }
}

void CallText::Take(const TraceStep& step, const TracedSites& sites, std::string& out) {
  if (step.started_again) absl::StrAppend(&out, "--- started again ---\n");
  if (step.dropped != 0) absl::StrAppend(&out, "--- ", Grouped(step.dropped), " dropped ---\n");
  for (const TracedCall& call : step.calls) AppendCall(call, step, sites, out);
}

void CallText::AppendCall(const TracedCall& call, const TraceStep& step, const TracedSites& sites,
                          std::string& out) {
  AppendTime(call, step, out);
  AppendLine(call, places_.Get(sites, call.site, PlaceOf), colour_, out);
  out.push_back('\n');
}

void CallText::AppendTime(const TracedCall& call, const TraceStep& step, std::string& out) {
  if (clock_ == TraceClock::kNone) return;
  if (clock_ == TraceClock::kGuest) {
    AppendGuestTime(call.guest_ns, out);
    return;
  }
  const absl::Time time = TimeOf(call, step);
  const int64_t second = absl::ToUnixSeconds(time);
  if (second != second_) {
    second_ = second;
    second_text_ = absl::FormatTime("%H:%M:%S", time, absl::LocalTimeZone());
  }
  const int64_t fraction = absl::ToInt64Microseconds(time - absl::FromUnixSeconds(second));
  absl::StrAppend(&out, second_text_, ".", absl::Dec(fraction, absl::kZeroPad6), " ");
}

absl::StatusOr<uint64_t> HypercallNumber(absl::string_view text) {
  std::vector<absl::string_view> names;
  for (const guest::Hypercall& call : guest::Hypercalls()) {
    names.push_back(View(call.name));
    if (names.back() == text) return call.number;
  }
  const absl::StatusOr<uint64_t> number = ParseNumber(text);
  if (number.ok()) return *number;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither a number nor one of ", absl::StrJoin(names, ", ")));
}

}  // namespace trapline::cli
