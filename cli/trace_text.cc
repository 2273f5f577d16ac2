// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line, in strace's manner.
#include "cli/trace_text.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/units.h"
#include "core/guest/abi.h"

namespace trapline::cli {
namespace {

enum class Show { kHex, kDecimal };

struct Argument {
  absl::string_view name;
  Show show;
};

struct Hypercall {
  uint64_t number;
  absl::string_view name;
  std::array<Argument, 4> arguments;  // those it has; an empty name ends them
};

// KVM's as its documentation names their arguments (Documentation/virt/kvm/x86/hypercalls.rst), and
// our own.
constexpr std::array kHypercalls = {
    Hypercall{KVM_HC_KICK_CPU, "kick_cpu", {{{"flags", Show::kHex}, {"apic_id", Show::kDecimal}}}},
    Hypercall{
        KVM_HC_CLOCK_PAIRING, "clock_pairing", {{{"gpa", Show::kHex}, {"type", Show::kDecimal}}}},
    Hypercall{KVM_HC_SEND_IPI,
              "send_ipi",
              {{{"bitmap", Show::kHex},
                {"bitmap_high", Show::kHex},
                {"min", Show::kDecimal},
                {"icr", Show::kHex}}}},
    Hypercall{KVM_HC_SCHED_YIELD, "sched_yield", {{{"apic_id", Show::kDecimal}}}},
    Hypercall{TRAPLINE_HC_PING, "ping", {{{"x", Show::kHex}}}},
    Hypercall{TRAPLINE_HC_CONSOLE_WRITE,
              "console_write",
              {{{"gpa", Show::kHex}, {"length", Show::kDecimal}}}},
    Hypercall{TRAPLINE_HC_CLOCK, "clock", {}},
    Hypercall{TRAPLINE_HC_SHUTDOWN, "shutdown", {{{"status", Show::kDecimal}}}},
    Hypercall{TRAPLINE_HC_WAIT, "wait", {}},
    Hypercall{TRAPLINE_HC_VCPU_NUMBER, "vcpu_number", {}},
    Hypercall{TRAPLINE_HC_ENTROPY, "entropy", {}},
    Hypercall{TRAPLINE_HC_DIRECT_SITES,
              "direct_sites",
              {{{"start", Show::kHex}, {"length", Show::kHex}}}},
    Hypercall{TRAPLINE_HC_TECHNIQUE, "technique", {{{"limit", Show::kDecimal}}}},
};

struct Error {
  int64_t number;
  absl::string_view name;
};

constexpr std::array kErrors = {
    Error{KVM_ENOSYS, "KVM_ENOSYS"}, Error{KVM_EFAULT, "EFAULT"},
    Error{KVM_EINVAL, "EINVAL"},     Error{KVM_E2BIG, "E2BIG"},
    Error{KVM_EPERM, "EPERM"},       Error{KVM_EOPNOTSUPP, "EOPNOTSUPP"}};

constexpr int64_t kLargestError = 4095;    // as in Linux: -4095 to -1 are errors
constexpr int64_t kLargestSmall = 0xffff;  // above it a result is rather an address or bits

bool IsError(int64_t result) { return result < 0 && result >= -kLargestError; }

const Hypercall* Find(uint64_t number) {
  const auto found =
      std::find_if(kHypercalls.begin(), kHypercalls.end(),
                   [number](const Hypercall& call) { return call.number == number; });
  return found == kHypercalls.end() ? nullptr : &*found;
}

std::string ArgumentsText(const v1::TraceRecord& record) {
  std::vector<std::string> shown;
  const Hypercall* call = Find(record.number());
  if (call == nullptr) {
    for (const uint64_t value : record.arguments()) shown.push_back(Hex(value));
    return absl::StrJoin(shown, ", ");
  }
  for (int i = 0; i < record.arguments_size() && i < 4 && !call->arguments[i].name.empty(); ++i) {
    const uint64_t value = record.arguments(i);
    shown.push_back(
        absl::StrCat(call->arguments[i].name, "=",
                     call->arguments[i].show == Show::kHex ? Hex(value) : absl::StrCat(value)));
  }
  return absl::StrJoin(shown, ", ");
}

std::string ResultText(int64_t result) {
  if (result >= 0 && result <= kLargestSmall) return absl::StrCat(result);
  if (!IsError(result)) return Hex(static_cast<uint64_t>(result));
  for (const Error& error : kErrors) {
    if (error.number == -result) return absl::StrCat(result, " ", error.name);
  }
  return absl::StrCat(result);
}

// The way in, the dearer the redder.
std::string PathText(v1::Technique path, bool colour) {
  switch (path) {
    case v1::TECHNIQUE_EMULATE:
      return Paint("trap", Colour::kYellow, colour);
    case v1::TECHNIQUE_LINKED:
      return Paint("linked", Colour::kGreen, colour);
    default:
      return Paint(TechniqueName(path), Colour::kCyan, colour);
  }
}

}  // namespace

std::string TraceLine(const v1::TraceRecord& record, bool with_time, bool colour) {
  const Hypercall* call = Find(record.number());
  const std::string name = !record.number_name().empty() ? Printable(record.number_name())
                           : call != nullptr             ? std::string(call->name)
                                             : absl::StrCat("hypercall_", record.number());
  std::string line;
  if (with_time) {
    absl::StrAppendFormat(&line, "%d.%06d ", record.guest_time().seconds(),
                          record.guest_time().nanos() / 1000);
  }
  absl::StrAppend(&line, "[vcpu ", record.vcpu(), "] ", Paint(name, Colour::kBold, colour), "(",
                  ArgumentsText(record), ") = ",
                  Paint(ResultText(record.result()),
                        IsError(record.result()) ? Colour::kRed : Colour::kPlain, colour),
                  " <");
  absl::StrAppend(&line, PathText(record.path(), colour), " ", record.cycles(), " cyc> ",
                  record.symbol().empty() ? Hex(record.gva()) : Printable(record.symbol()), "\n");
  return line;
}

absl::StatusOr<uint64_t> HypercallNumber(absl::string_view text) {
  std::vector<absl::string_view> names;
  for (const Hypercall& call : kHypercalls) {
    if (call.name == text) return call.number;
    names.push_back(call.name);
  }
  const absl::StatusOr<uint64_t> number = ParseNumber(text);
  if (number.ok()) return *number;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither a number nor one of ", absl::StrJoin(names, ", ")));
}

}  // namespace trapline::cli
