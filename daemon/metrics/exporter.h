// SPDX-License-Identifier: Apache-2.0
// Where Prometheus fetches the metrics: /metrics over HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"

namespace trapline::daemon {

struct MetricsAddress {
  std::string host;  // an IPv4 address
  uint16_t port;     // 0: any that is free
};

// Of "[ADDRESS:]PORT". Without an address, or with "localhost": 127.0.0.1. INVALID_ARGUMENT where
// it is not of that form, or where others than this machine could come and `insecure` is not set.
absl::StatusOr<MetricsAddress> ParseMetricsAddress(const std::string& text, bool insecure);

class MetricsExporter {
 public:
  // Serves what `metrics` collects, until it is destroyed. UNAVAILABLE: cannot listen there.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(
      const MetricsAddress& address, std::shared_ptr<prometheus::Collectable> metrics);

  ~MetricsExporter();

  // The one chosen where the address said 0.
  int port() const { return exposer_->GetListeningPorts().front(); }

 private:
  explicit MetricsExporter(MetricsAddress address) : address_(std::move(address)) {}

  const MetricsAddress address_;
  std::shared_ptr<prometheus::Collectable> metrics_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace trapline::daemon
