// SPDX-License-Identifier: Apache-2.0
// The HTTP side of the metrics.
#include "daemon/metrics/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <chrono>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/host_port.h"
#include "core/base/thread.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {
namespace {

constexpr char kLoopback[] = "127.0.0.1";
// One for who scrapes, one for who looks in meanwhile.
constexpr char kThreads[] = "2";
// A client that connects and says nothing holds one of them for so long.
constexpr char kRequestMilliseconds[] = "5000";
constexpr auto kBetweenCalls = std::chrono::milliseconds(20);
constexpr uint32_t kLoopbackNet = 127;

std::string Text(const MetricsAddress& address) {
  return absl::StrCat(address.host, ":", address.port);
}

sockaddr_in SocketAddress(const std::string& host, int port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &name.sin_addr);
  return name;
}

// The HTTP server only says that it could not begin.
std::string WhyNot(const MetricsAddress& address) {
  sockaddr_in name = SocketAddress(address.host, address.port);
  base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  if (fd.valid()) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  bool bound = fd.valid() && bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0 &&
               listen(fd.get(), 1) == 0;
  return bound ? "the HTTP server did not start" : strerror(errno);
}

}  // namespace

absl::StatusOr<MetricsAddress> ParseMetricsAddress(const std::string& text, bool insecure) {
  const bool port_alone = text.find(':') == std::string::npos;
  const auto parsed = base::ParseHostPort(port_alone ? ":" + text : text);
  if (!parsed) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics-listen ", text,
                     ": must be PORT or ADDRESS:PORT, with a port of 0 "
                     "to 65535"));
  }
  std::string host = parsed->host;
  if (host.empty() || host == "localhost") host = kLoopback;
  in_addr address;
  if (inet_pton(AF_INET, host.c_str(), &address) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("--metrics-listen ", text, ": ", host,
                                                   " is not an IPv4 address, nor localhost"));
  }
  if (ntohl(address.s_addr) >> 24 != kLoopbackNet && !insecure) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics-listen ", text,
                     ": metrics are served without encryption or authentication; say "
                     "--insecure-metrics as well if everyone who reaches that address may read "
                     "them"));
  }
  return MetricsAddress{host, parsed->port};
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const MetricsAddress& address, std::shared_ptr<prometheus::Collectable> metrics) {
  auto exporter = std::unique_ptr<MetricsExporter>(new MetricsExporter(address));
  exporter->metrics_ = std::move(metrics);
  try {
    exporter->exposer_ = std::make_unique<prometheus::Exposer>(
        std::vector<std::string>{"listening_ports", Text(address), "num_threads", kThreads,
                                 "request_timeout_ms", kRequestMilliseconds});
  } catch (const std::exception&) {
    return absl::UnavailableError(absl::StrCat("--metrics-listen ", Text(address),
                                               ": cannot listen there: ", WhyNot(address)));
  }
  exporter->exposer_->RegisterCollectable(exporter->metrics_);
  return exporter;
}

// The HTTP server waits up to two seconds for somebody to come before it sees that it shall end, so
// somebody comes until it listens no more.
MetricsExporter::~MetricsExporter() {
  if (!exposer_) return;
  sockaddr_in name = SocketAddress(address_.host, port());
  auto caller = base::StartThread("ending the metrics", [name] {
    for (;;) {
      base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return;
      std::this_thread::sleep_for(kBetweenCalls);
    }
  });
  exposer_ = nullptr;
  if (caller.ok()) caller->join();
}

}  // namespace trapline::daemon
