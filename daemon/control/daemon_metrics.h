// SPDX-License-Identifier: Apache-2.0
// All that the daemon tells Prometheus, collected when it asks.
#pragma once

#include <memory>
#include <vector>

#include "daemon/control/registry.h"
#include "daemon/metrics/call_tally.h"
#include "daemon/metrics/rpc_metrics.h"
#include "prometheus/collectable.h"

namespace trapline::daemon {

class DaemonMetrics final : public prometheus::Collectable {
 public:
  // tally: the one that the registry's VMs count in.
  DaemonMetrics(Registry& registry, std::shared_ptr<CallTally> tally);

  RpcMetrics& rpc() { return rpc_; }
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  Registry& registry_;
  const std::shared_ptr<CallTally> tally_;
  RpcMetrics rpc_;
};

}  // namespace trapline::daemon
