// SPDX-License-Identifier: Apache-2.0
// Matching of subject alternative names.
#include "daemon/access/san_pattern.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

// The greedy match with one place to return to: a later * makes an earlier one's choice final, so
// the work is at most the product of both lengths, whatever a client puts in its certificate.
bool MatchesWild(absl::string_view pattern, absl::string_view text, char separator) {
  size_t p = 0, t = 0;
  size_t star = absl::string_view::npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*' && text[t] != separator) {
      star = p++;
      taken = ++t;  // one character at least
    } else if (p < pattern.size() && pattern[p] != '*' && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != absl::string_view::npos && text[taken] != separator) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return p == pattern.size();
}

}  // namespace

absl::StatusOr<SanPattern> SanPattern::Parse(absl::string_view text) {
  const size_t colon = text.find(':');
  const absl::string_view kind = text.substr(0, colon);
  if (colon != absl::string_view::npos && colon + 1 < text.size()) {
    std::string name(text.substr(colon + 1));
    if (kind == "dns") return SanPattern("dns", absl::AsciiStrToLower(name), '.');
    if (kind == "uri") return SanPattern("uri", std::move(name), '/');
    if (kind == "email") return SanPattern("email", std::move(name), '@');
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", text,
      "\" is not of the form dns:NAME, uri:URI or email:ADDRESS (* stands for a part)"));
}

bool SanPattern::Matches(const San& san) const {
  if (san.kind != kind_) return false;
  return MatchesWild(name_, kind_ == "dns" ? absl::AsciiStrToLower(san.name) : san.name,
                     separator_);
}

}  // namespace trapline::daemon
