// SPDX-License-Identifier: Apache-2.0
// The interceptor.
#include "daemon/access/reflection_limit.h"

#include <string_view>

#include "daemon/access/caller.h"
#include "grpcpp/server_context.h"

namespace trapline::daemon {
namespace {

using grpc::experimental::InterceptionHookPoints;

constexpr std::string_view kReflection = "/grpc.reflection.";

class Call final : public grpc::experimental::Interceptor {
 public:
  Call(CallLimits& limits, grpc::ServerContextBase& context) : limits_(limits), context_(context) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      const Caller caller = CallerOf(*context_.auth_context());
      if (!limits_.Enter(caller.who, CallLimits::Kind::kCall, &place_).ok()) context_.TryCancel();
    }
    batch->Proceed();
  }

 private:
  CallLimits& limits_;
  grpc::ServerContextBase& context_;
  CallLimits::Place place_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(CallLimits& limits) : limits_(limits) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const bool counted =
        std::string_view(info->method()).substr(0, kReflection.size()) == kReflection;
    return counted ? new Call(limits_, *info->server_context()) : nullptr;
  }

 private:
  CallLimits& limits_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> LimitReflection(
    CallLimits& limits) {
  return std::make_unique<Factory>(limits);
}

}  // namespace trapline::daemon
