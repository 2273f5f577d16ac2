// SPDX-License-Identifier: Apache-2.0
// Two columns of instructions.
#include "cli/site_code_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/hex_text.h"
#include "cli/table.h"

namespace trapline::cli {
namespace {

using Instruction = v1::SiteCode::Instruction;

constexpr size_t kWidest = 46;  // of a column of instructions

std::string Address(uint64_t address) { return absl::StrFormat("%x", address); }

std::string Cut(std::string text) {
  if (text.size() > kWidest) text.replace(kWidest - 2, std::string::npos, "..");
  return text;
}

// "0f 01 c1  vmcall" where the bytes matter.
std::string InstructionText(const Instruction& instruction, bool bytes) {
  return Cut(bytes
                 ? absl::StrFormat("%-14s  %s", SpacedHex(instruction.bytes()), instruction.text())
                 : instruction.text());
}

// The name of the function that instructions are in, wherever it changes.
class Heading {
 public:
  // "name+0x12:" where this is another function's; else nothing.
  std::string For(const std::string& symbol) {
    std::string function = symbol.substr(0, symbol.find('+'));
    if (function.empty() || function == function_) return "";
    function_ = std::move(function);
    return absl::StrCat(symbol, ":");
  }

 private:
  std::string function_;
};

std::string LinesText(const v1::SiteCode& code, bool colour) {
  Table table({{""}, {"ADDRESS", Align::kRight}, {"AS THE GUEST WROTE IT"}, {"NOW"}});
  Heading heading;
  for (const auto& line : code.lines()) {
    const auto& any = line.has_original() ? line.original() : line.current();
    const std::string name = heading.For(any.symbol());
    if (!name.empty()) table.Add({"", "", Cell(Cut(name), Colour::kCyan), ""});
    const bool changed = line.has_original() != line.has_current() ||
                         line.original().bytes() != line.current().bytes();
    const bool bytes = line.site() || changed;
    const Colour now = changed ? Colour::kYellow : Colour::kDim;
    table.Add({line.site() ? ">" : "", Address(line.address()),
               line.has_original() ? InstructionText(line.original(), bytes) : "",
               Cell(line.has_current() ? InstructionText(line.current(), bytes) : "", now)});
  }
  return table.Render(colour);
}

std::string TrampolineText(const v1::SiteCode::Trampoline& trampoline, bool colour) {
  std::string out = absl::StrCat(
      "\n",
      Paint(absl::StrCat(Printable(trampoline.name()), " at 0x", Address(trampoline.address())),
            Colour::kBold, colour),
      "\n");
  Heading heading;
  for (const Instruction& instruction : trampoline.instructions()) {
    const std::string name = heading.For(instruction.symbol());
    if (!name.empty() && instruction.symbol() != trampoline.name())
      absl::StrAppend(&out, Paint(Printable(name), Colour::kCyan, colour), "\n");
    absl::StrAppendFormat(&out, "  %16x  %s\n", instruction.address(),
                          Printable(instruction.text()));
  }
  return out;
}

}  // namespace

std::string SiteCodeText(const v1::SiteCode& code, bool colour) {
  std::string out = LinesText(code, colour);
  for (const auto& trampoline : code.trampolines())
    absl::StrAppend(&out, TrampolineText(trampoline, colour));
  return out;
}

}  // namespace trapline::cli
