// SPDX-License-Identifier: Apache-2.0
// The interceptor that counts calls.
#include "daemon/metrics/rpc_metrics.h"

#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

using grpc::experimental::InterceptionHookPoints;
using Clock = std::chrono::steady_clock;

// Seconds. From a look into a map to a guest that takes its time to switch itself off.
const prometheus::Histogram::BucketBoundaries kLatencies = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};

}  // namespace

std::string CodeName(grpc::StatusCode code) {
  // The numbers are the same.
  std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
  return name.empty() ? "UNKNOWN" : name;
}

// One call, from its arrival to its status.
class RpcMetrics::Call final : public grpc::experimental::Interceptor {
 public:
  Call(RpcMetrics& metrics, const Method& method) : metrics_(metrics), method_(method) {
    if (method_.open) method_.open->Increment();
  }
  ~Call() override { End(grpc::CANCELLED); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      End(batch->GetSendStatus().error_code());
    batch->Proceed();
  }

 private:
  void End(grpc::StatusCode code) {
    if (std::exchange(over_, true)) return;
    if (method_.open) method_.open->Decrement();
    if (method_.latency)
      method_.latency->Observe(std::chrono::duration<double>(Clock::now() - begin_).count());
    metrics_.CountEnd(method_, code);
  }

  RpcMetrics& metrics_;
  const Method& method_;
  const Clock::time_point begin_ = Clock::now();
  bool over_ = false;
};

class RpcMetrics::Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(RpcMetrics& metrics) : metrics_(metrics) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    auto known = metrics_.methods_.find(info->method());
    return new Call(metrics_, known == metrics_.methods_.end() ? metrics_.other_ : known->second);
  }

 private:
  RpcMetrics& metrics_;
};

RpcMetrics::RpcMetrics(const std::vector<const google::protobuf::ServiceDescriptor*>& services)
    : handled_(prometheus::BuildCounter()
                   .Name("trapline_rpc_handled_total")
                   .Help("gRPC calls that ended, by method and status code. The method \"other\" "
                         "is whatever is not of Trapline's own services: health, reflection, and "
                         "what does not exist.")
                   .Register(registry_)),
      open_streams_(prometheus::BuildGauge()
                        .Name("trapline_rpc_open_streams")
                        .Help("Streams that are open now: clients that trace, watch, or have a "
                              "console attached.")
                        .Register(registry_)),
      latencies_(prometheus::BuildHistogram()
                     .Name("trapline_rpc_duration_seconds")
                     .Help("Time from a gRPC call's arrival to its status; of methods that do not "
                           "stream. WaitVm and StopVm take as long as the guest lets them wait.")
                     .Register(registry_)) {
  for (const auto* service : services) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      Method& added = methods_[absl::StrCat("/", service->full_name(), "/", method->name())];
      added.name = absl::StrCat(service->full_name(), "/", method->name());
      // There from the start, so that rates have a zero to begin from.
      handled_.Add({{"method", added.name}, {"code", "OK"}});
      if (method->client_streaming() || method->server_streaming()) {
        added.open = &open_streams_.Add({{"method", added.name}});
      } else {
        added.latency = &latencies_.Add({{"method", added.name}}, kLatencies);
      }
    }
  }
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMetrics::Interceptors() {
  return std::make_unique<Factory>(*this);
}

void RpcMetrics::CountEnd(const Method& method, grpc::StatusCode code) {
  handled_.Add({{"method", method.name}, {"code", CodeName(code)}}).Increment();
}

}  // namespace trapline::daemon
