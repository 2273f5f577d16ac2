// SPDX-License-Identifier: Apache-2.0
// A tokenizer's view of PromQL: a name is a metric's unless it is called, is an operator's word, is
// a label in a list behind one, or stands in braces, brackets or quotes. What is syntax and what is
// not is left to Prometheus.
#include "tests/metrics/promql_names.h"

#include <algorithm>
#include <cctype>

namespace trapline::metrics_test {
namespace {

// Behind which a list of labels follows.
const std::set<std::string> kListed = {"by",       "without",    "on",
                                       "ignoring", "group_left", "group_right"};
const std::set<std::string> kWords = {"and", "or", "unless", "bool", "offset", "inf", "nan"};

bool BeginsName(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == ':';
}
bool InName(char c) { return BeginsName(c) || std::isdigit(static_cast<unsigned char>(c)); }

// Behind the closing one of a bracket or quote that opens at `at`.
size_t Behind(const std::string& text, size_t at, char closing) {
  return std::min(text.find(closing, at + 1), text.size() - 1) + 1;
}
size_t BehindSpace(const std::string& text, size_t at) {
  while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
  return at;
}

}  // namespace

std::set<std::string> MetricNames(const std::string& text) {
  std::set<std::string> names;
  for (size_t at = 0; at < text.size();) {
    char c = text[at];
    if (c == '{' || c == '[') {
      at = Behind(text, at, c == '{' ? '}' : ']');
    } else if (c == '"' || c == '\'') {
      at = Behind(text, at, c);
    } else if (std::isdigit(static_cast<unsigned char>(c))) {  // 5, 5m, 1e3
      while (at < text.size() && (InName(text[at]) || text[at] == '.')) ++at;
    } else if (BeginsName(c)) {
      size_t end = at;
      while (end < text.size() && InName(text[end])) ++end;
      std::string name = text.substr(at, end - at);
      at = BehindSpace(text, end);
      bool opens = at < text.size() && text[at] == '(';
      if (kListed.count(name) != 0) {
        if (opens) at = Behind(text, at, ')');
      } else if (!opens && kWords.count(name) == 0) {
        // sum by (...) (...): an operator that is called further on.
        size_t next = at;
        while (next < text.size() && InName(text[next])) ++next;
        std::string follower = text.substr(at, next - at);
        if (follower != "by" && follower != "without") names.insert(name);
      }
    } else {
      ++at;
    }
  }
  return names;
}

}  // namespace trapline::metrics_test
