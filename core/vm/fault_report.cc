// SPDX-License-Identifier: Apache-2.0
// Reports of faults: words for the exception, registers, and the code around RIP. Everything that
// is read here is the guest's and may be anything, code that is not mapped included.
#include "core/vm/fault_report.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/vm/disassembler.h"
#include "core/vm/linear_memory.h"
#include "core/x86/exceptions.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"

namespace trapline::vm {
namespace {

constexpr std::array<std::string_view, 20> kNames = {
    "divide error",
    "debug exception",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection fault",
    "page fault",
    "",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
};
constexpr std::array<std::string_view, x86::kGprCount> kGprNames = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

constexpr size_t kBytesBefore = 32, kBytesBehind = 64;
constexpr size_t kLinesBefore = 4, kLinesBehind = 6;  // behind: with RIP's own

std::string_view AccessVerb(uint32_t error_code) {
  if (error_code & x86::page_fault::kFetch) return "executing";
  return error_code & x86::page_fault::kWrite ? "writing" : "reading";
}

uint64_t LinearOfCode(const x86::Registers& registers, unsigned bits) {
  return bits == 64 ? registers.rip
                    : static_cast<uint32_t>(registers.segment[x86::kCs].base + registers.rip);
}

// What can be read of size bytes that begin, or end, at linear: all, or what shares its page.
std::vector<std::byte> ReadFrom(const FaultScene& scene, uint64_t linear, size_t size) {
  size_t in_page = std::min<size_t>(size, x86::kPageSize - (linear & x86::kPageMask));
  for (size_t length : {size, in_page}) {
    std::vector<std::byte> bytes(length);
    if (ReadLinear(scene.vcpu, scene.memory, linear, bytes).ok()) return bytes;
  }
  return {};
}
std::vector<std::byte> ReadUpTo(const FaultScene& scene, uint64_t linear, size_t size) {
  size_t in_page = std::min<size_t>(size, linear & x86::kPageMask);
  for (size_t length : {size, in_page}) {
    std::vector<std::byte> bytes(length);
    if (ReadLinear(scene.vcpu, scene.memory, linear - length, bytes).ok()) return bytes;
  }
  return {};
}

// The instructions that lead up to linear. Code has no marks to read it backwards by: the longest
// piece that decodes to whole instructions up to there is taken for them.
std::vector<Instruction> CodeBefore(std::span<const std::byte> bytes, uint64_t linear,
                                    unsigned bits, const Names& names) {
  for (; !bytes.empty(); bytes = bytes.subspan(1)) {
    auto code = DisassembleBytes(bytes, linear - bytes.size(), bits,
                                 static_cast<uint32_t>(bytes.size()), names);
    bool whole = !code.empty() && code.back().address + code.back().bytes.size() == linear &&
                 std::none_of(code.begin(), code.end(),
                              [](const Instruction& i) { return i.text == "(bad)"; });
    if (!whole) continue;
    if (code.size() > kLinesBefore) code.erase(code.begin(), code.end() - kLinesBefore);
    return code;
  }
  return {};
}

std::string RegisterLines(const x86::Registers& registers) {
  std::string text;
  for (size_t i = 0; i < kGprNames.size(); ++i) {
    absl::StrAppendFormat(&text, "%3s %016x%s", kGprNames[i], registers.gpr[i],
                          i % 4 == 3 ? "\n" : "  ");
  }
  absl::StrAppendFormat(&text, "rip %016x  rflags %08x  cs %04x  ss %04x\n", registers.rip,
                        registers.rflags, registers.segment[x86::kCs].selector,
                        registers.segment[x86::kSs].selector);
  absl::StrAppendFormat(&text, "cr0 %08x  cr2 %016x  cr3 %016x  cr4 %08x  efer %04x\n",
                        registers.cr0, registers.cr2, registers.cr3, registers.cr4, registers.efer);
  return text;
}

void AppendCode(const std::vector<Instruction>& code, uint64_t current, std::string* text) {
  for (const Instruction& instruction : code) {
    std::string bytes;
    for (std::byte byte : instruction.bytes)
      absl::StrAppendFormat(&bytes, "%02x", static_cast<unsigned>(byte));
    absl::StrAppendFormat(text, "%s %16x %-24s %-22s %s\n",
                          instruction.address == current ? ">" : " ", instruction.address,
                          instruction.symbol, bytes, instruction.text);
  }
}

}  // namespace

std::string DescribeException(const engine::Exit::Exception& exception) {
  auto vector = static_cast<size_t>(exception.vector);
  std::string_view name = vector < kNames.size() ? kNames[vector] : "";
  std::string text =
      absl::StrCat(name.empty() ? "exception" : std::string(name), " (vector ", vector);
  if (x86::HasErrorCode(exception.vector))
    absl::StrAppend(&text, ", error 0x", absl::Hex(exception.error_code));
  absl::StrAppend(&text, ")");
  if (exception.vector == x86::Vector::kPageFault) {
    absl::StrAppend(&text, " ", std::string(AccessVerb(exception.error_code)), " 0x",
                    absl::Hex(exception.address));
  }
  return text;
}

FaultReport ReportFault(const FaultScene& scene, std::string_view what) {
  const x86::Registers registers = scene.vcpu.GetRegisters();
  unsigned bits = CodeBits(registers);
  uint64_t linear = LinearOfCode(registers, bits);
  auto code = DisassembleBytes(ReadFrom(scene, linear, kBytesBehind), linear, bits, kLinesBehind,
                               scene.symbolize);
  auto before = CodeBefore(ReadUpTo(scene, linear, kBytesBefore), linear, bits, scene.symbolize);

  std::string symbol = scene.symbolize(linear);
  FaultReport report;
  report.line = absl::StrCat(
      std::string(what), " at ", symbol.empty() ? absl::StrCat("0x", absl::Hex(linear)) : symbol,
      ", vCPU ", scene.index, ": ", code.empty() ? "no code there" : code.front().text);
  report.details = RegisterLines(registers);
  AppendCode(before, linear, &report.details);
  AppendCode(code, linear, &report.details);
  return report;
}

}  // namespace trapline::vm
