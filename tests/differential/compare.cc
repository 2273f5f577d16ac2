// SPDX-License-Identifier: Apache-2.0
// Comparison and description.
#include "tests/differential/compare.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"
#include "core/x86/exceptions.h"
#include "core/x86/paging.h"
#include "tests/differential/shapes.h"
#include "tests/differential/undefined.h"

namespace trapline::differential {
namespace {

constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr uint64_t kPrecision = 1 << 5;  // MXCSR.PE
constexpr size_t kMostLines = 24;
constexpr uint64_t kUpperHalf = uint64_t{1} << 47;

class Lines {
 public:
  void Value(const std::string& name, uint64_t native, uint64_t soft) {
    if (native == soft || ++count_ > kMostLines) return;
    text_ += absl::StrFormat("  %s: native %x, soft %x\n", name, native, soft);
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
  size_t count_ = 0;
};

uint64_t Word(std::span<const std::byte> bytes, size_t at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, &bytes[at], size);
  return value;
}

void CompareFloatingPoint(uint8_t vector, State native, State soft, bool status_word,
                          Lines* lines) {
  ClearUndefined(native.fxsave);
  ClearUndefined(soft.fxsave);
  auto field = [&](const std::string& name, size_t at, size_t size) {
    lines->Value(name, Word(native.fxsave, at, size), Word(soft.fxsave, at, size));
  };
  field("fcw", 0, 2);
  if (status_word) field("fsw", 2, 2);
  field("ftw", 4, 1);
  uint64_t mxcsr = Word(native.fxsave, 24, 4);
  bool exact = !PrecisionUndefined(vector, static_cast<uint32_t>(mxcsr));
  uint64_t mask = exact ? ~uint64_t{0} : ~kPrecision;
  lines->Value("mxcsr", mxcsr & mask, Word(soft.fxsave, 24, 4) & mask);
  for (size_t i = 0; i < 8; ++i) {
    field(absl::StrFormat("st%d mantissa", i), 32 + i * 16, 8);
    field(absl::StrFormat("st%d exponent", i), 32 + i * 16 + 8, 2);
  }
  for (size_t i = 0; i < 16; ++i) {
    field(absl::StrFormat("xmm%d low", i), 160 + i * 16, 8);
    field(absl::StrFormat("xmm%d high", i), 160 + i * 16 + 8, 8);
  }
}

void CompareFaults(const Outcome& native, const Outcome& soft, bool any_offset, Lines* lines) {
  uint64_t offset = any_offset ? x86::kPageMask : 0;
  lines->Value("vector", native.vector, soft.vector);
  // Linux hides from user mode what is mapped in the upper half: always "protection".
  uint32_t hidden = native.fault_address >= kUpperHalf ? x86::page_fault::kPresent : 0;
  lines->Value("error code", native.error_code & ~hidden, soft.error_code & ~hidden);
  lines->Value("fault address", native.fault_address & ~offset, soft.fault_address & ~offset);
}

void CompareRegisters(const State& in, const State& native, const State& soft,
                      const Undefined& undefined, Lines* lines) {
  constexpr uint64_t kLower = 0xffffffff;
  bool idle = (native.gpr[x86::kRcx] & kLower) == (in.gpr[x86::kRcx] & kLower);
  for (unsigned i = 0; i < x86::kGprCount; ++i) {
    auto kept_or_cleared = [&](uint64_t value) {
      return value == in.gpr[i] || value == (in.gpr[i] & kLower);
    };
    bool either = idle && (undefined.idle_upper_halves & 1u << i) != 0 &&
                  kept_or_cleared(native.gpr[i]) && kept_or_cleared(soft.gpr[i]);
    uint64_t mask = either || (undefined.upper_halves & 1u << i) ? kLower : ~uint64_t{0};
    lines->Value(kNames[i], native.gpr[i] & mask, soft.gpr[i] & mask);
  }
}

void CompareMemory(const Outcome& native, const Outcome& soft, const Undefined& undefined,
                   Lines* lines) {
  for (size_t at = 0; at < kMemorySize; ++at) {
    uint64_t address = kMemory + at;
    auto has = [&](const Undefined::Bytes& open) { return address - open.address < open.size; };
    if (std::any_of(std::begin(undefined.memory), std::end(undefined.memory), has) ||
        has(undefined.memory_of_fault)) {
      continue;
    }
    lines->Value(absl::StrFormat("memory %x", address), static_cast<uint64_t>(native.memory[at]),
                 static_cast<uint64_t>(soft.memory[at]));
  }
}

}  // namespace

std::string Difference(const Instance& instance, const Outcome& native, const Outcome& soft) {
  Undefined undefined = WhatIsUndefined(instance);
  if (undefined.result) return "";
  bool faulted = native.out.rip == instance.in.rip;
  if (faulted && undefined.result_of_fault) return "";
  uint64_t flags = undefined.flags | (faulted ? undefined.flags_of_fault : 0);
  Reports reports = MayReport(instance, native, soft);
  Lines lines;
  if (reports == Reports::kTheSame) CompareFaults(native, soft, undefined.fault_offset, &lines);
  const State &a = native.out, &b = soft.out;
  CompareRegisters(instance.in, a, b, undefined, &lines);
  if (reports != Reports::kFaultOrWithheld) lines.Value("rip", a.rip, b.rip);
  lines.Value("rflags", a.rflags & ~flags, b.rflags & ~flags);
  lines.Value("cs", a.cs, b.cs);
  lines.Value("ss", a.ss, b.ss);
  // The way back from an interrupt turns null selectors 1 to 3 into 0, and nobody sees the native
  // ones but by such a way.
  auto null = [](uint16_t selector) { return selector < 4 ? uint16_t{0} : selector; };
  lines.Value("ds", null(a.ds), null(b.ds));
  lines.Value("es", null(a.es), null(b.es));
  lines.Value("gs base", a.gs_base, b.gs_base);
  State c = b;
  if (faulted && undefined.mmx_transition_of_fault) FollowMmxTransition(instance.in, a, &c);
  CompareFloatingPoint(native.vector, a, c, reports != Reports::kFaultOrWithheld, &lines);
  if (!faulted) undefined.memory_of_fault = {};
  if (native.memory != soft.memory) CompareMemory(native, soft, undefined, &lines);
  return lines.Take();
}

std::string Describe(const Instance& instance) {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  std::string text =
      absl::StrFormat("#%d %s", instance.number, instance.compat ? "32-bit" : "64-bit");
  for (unsigned i = 0; i < instance.length; ++i) {
    text += absl::StrFormat(" %02x", instance.code[i]);
  }
  if (DecodeTested(instance.compat ? Mode::kCompat : Mode::k64, instance.code.data(),
                   instance.length, &info, operands)) {
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    char assembly[128] = "";
    ZydisFormatterFormatInstruction(&formatter, &info, operands, info.operand_count_visible,
                                    assembly, sizeof assembly, instance.in.rip, nullptr);
    text += std::string("  ") + assembly;
  }
  text += absl::StrFormat("\n  from rip %x rflags %x operand at %x (%d bytes)\n ", instance.in.rip,
                          instance.in.rflags, instance.target, instance.target_size);
  for (unsigned i = 0; i < x86::kGprCount; ++i) {
    text += absl::StrFormat(" %s %x", kNames[i], instance.in.gpr[i]);
  }
  text += absl::StrFormat("\n  fcw %x fsw %x ftw %x mxcsr %x\n", Word(instance.in.fxsave, 0, 2),
                          Word(instance.in.fxsave, 2, 2), Word(instance.in.fxsave, 4, 1),
                          Word(instance.in.fxsave, 24, 4));
  for (const Patch& patch : instance.patches) {
    if (patch.size == 0) continue;
    text += absl::StrFormat("  at %x:", patch.address);
    for (unsigned i = 0; i < patch.size; ++i) {
      text += absl::StrFormat(" %02x", static_cast<uint8_t>(instance.patch_bytes[patch.from + i]));
    }
    text += "\n";
  }
  return text;
}

}  // namespace trapline::differential
