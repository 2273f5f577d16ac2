// SPDX-License-Identifier: Apache-2.0
// HTTP by libcurl.
#include "tests/metrics/http.h"

#include <curl/curl.h>

#include <memory>

namespace trapline::metrics_test {
namespace {

constexpr long kTimeoutSeconds = 30;

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

size_t Append(const char* bytes, size_t one, size_t count, void* to) {
  static_cast<std::string*>(to)->append(bytes, one * count);
  return one * count;
}

}  // namespace

HttpAnswer Get(const std::string& url) {
  HttpAnswer answer;
  Handle handle(curl_easy_init(), &curl_easy_cleanup);
  curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_NOPROXY, "*");
  curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &answer.body);
  if (curl_easy_perform(handle.get()) == CURLE_OK)
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &answer.code);
  return answer;
}

std::string UrlEncoded(const std::string& text) {
  Handle handle(curl_easy_init(), &curl_easy_cleanup);
  std::unique_ptr<char, decltype(&curl_free)> encoded(
      curl_easy_escape(handle.get(), text.data(), static_cast<int>(text.size())), &curl_free);
  return encoded.get();
}

}  // namespace trapline::metrics_test
