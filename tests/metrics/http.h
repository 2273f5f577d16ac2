// SPDX-License-Identifier: Apache-2.0
// Fetching by HTTP, for tests.
#pragma once

#include <string>

namespace trapline::metrics_test {

struct HttpAnswer {
  long code = 0;  // 0: there was no answer
  std::string body;
};

HttpAnswer Get(const std::string& url);

// For use in a URL's query.
std::string UrlEncoded(const std::string& text);

}  // namespace trapline::metrics_test
