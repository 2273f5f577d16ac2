// SPDX-License-Identifier: Apache-2.0
// What clients call, how it ends, and how long it takes: seen by an interceptor of the server's.
//
// gRPC hands every call to it, the console's callback method like the others. A call is over when
// its status is about to be sent, which is before its client can know, so whoever has an answer
// finds the call counted. One that never came to a status counts as cancelled.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "grpcpp/support/server_interceptor.h"
#include "grpcpp/support/status.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "prometheus/registry.h"

namespace trapline::daemon {

// "NOT_FOUND"; "UNKNOWN" for what is no code.
std::string CodeName(grpc::StatusCode code);

// Thread-safe.
class RpcMetrics {
 public:
  // Methods of these services are told apart. Whatever else is called, and clients can call
  // anything, is the method "other".
  explicit RpcMetrics(const std::vector<const google::protobuf::ServiceDescriptor*>& services);

  // For ServerBuilder. This object has to outlive the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Interceptors();
  std::vector<prometheus::MetricFamily> Collect() const { return registry_.Collect(); }

 private:
  class Factory;
  class Call;
  struct Method {
    std::string name;
    prometheus::Histogram* latency = nullptr;  // of one that does not stream
    prometheus::Gauge* open = nullptr;         // of one that does
  };

  void CountEnd(const Method& method, grpc::StatusCode code);

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Family<prometheus::Gauge>& open_streams_;
  prometheus::Family<prometheus::Histogram>& latencies_;
  std::unordered_map<std::string, Method> methods_;  // by the path that is called
  const Method other_{"other"};
};

}  // namespace trapline::daemon
