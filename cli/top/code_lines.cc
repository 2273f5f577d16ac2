// SPDX-License-Identifier: Apache-2.0
// The code around a site, as the guest wrote it beside as it is, and where a rewritten one leads.
#include "cli/top/code_lines.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/hex_text.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

using Instruction = v1::SiteCode::Instruction;

constexpr int kBytesWidth = 18;  // six of them; longer ones are cut
// Sides narrower than this show no bytes but the site's own.
constexpr int kWithBytes = 42;

std::string Cut(std::string text, int width) {
  // Only ASCII gets here: bytes in hexadecimal and what a disassembler writes.
  if (static_cast<int>(text.size()) > width) {
    text.resize(static_cast<size_t>(std::max(0, width)));
    if (!text.empty()) text.back() = '~';
  }
  return absl::StrCat(text, std::string(static_cast<size_t>(width) - text.size(), ' '));
}

std::string InstructionText(const Instruction& instruction, bool with_bytes) {
  if (!with_bytes) return instruction.text();
  return absl::StrCat(Cut(SpacedHex(instruction.bytes()), kBytesWidth), instruction.text());
}

int AddressWidth(const v1::SiteCode& code) {
  size_t width = 0;
  for (const auto& line : code.lines()) width = std::max(width, Hex(line.address()).size());
  return static_cast<int>(width);
}

Style SideStyle(const v1::SiteCode::Line& line, const Instruction* side) {
  if (line.site()) return Style::kBold;
  const bool same = line.has_original() && line.has_current() &&
                    line.original().bytes() == line.current().bytes();
  return same && side == &line.current() ? Style::kDim : Style::kPlain;
}

std::vector<Span> SidesOf(const v1::SiteCode::Line& line, int address_width, int side,
                          const Glyphs& glyphs) {
  const bool with_bytes = side >= kWithBytes || line.site();
  const auto text = [&](bool is_there, const Instruction& instruction) {
    return Cut(is_there ? InstructionText(instruction, with_bytes) : "", side);
  };
  return {{absl::StrCat(line.site() ? ">" : " ", Cut(Hex(line.address()), address_width), " "),
           Style::kDim},
          {text(line.has_original(), line.original()), SideStyle(line, &line.original())},
          {absl::StrCat(" ", glyphs.rule(), " "), Style::kDim},
          {text(line.has_current(), line.current()), SideStyle(line, &line.current())}};
}

}  // namespace

std::vector<std::vector<Span>> CodeLines(const v1::SiteCode& code, int width,
                                         const Glyphs& glyphs) {
  const int address_width = AddressWidth(code);
  const int side = std::max(0, (width - address_width - 2 - 3) / 2);
  std::vector<std::vector<Span>> lines;
  for (const auto& line : code.lines()) lines.push_back(SidesOf(line, address_width, side, glyphs));
  for (const auto& trampoline : code.trampolines()) {
    lines.push_back(
        {{absl::StrCat("leads to ", trampoline.name(), " at ", Hex(trampoline.address())),
          Style::kFair}});
    for (const auto& instruction : trampoline.instructions()) {
      lines.push_back({{absl::StrCat(" ", Hex(instruction.address()), " "), Style::kDim},
                       {InstructionText(instruction, true)}});
    }
  }
  return lines;
}

}  // namespace trapline::cli::top
