// SPDX-License-Identifier: Apache-2.0
// Handlers that ask first.
#include "daemon/access/guarded_service.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/access/caller.h"
#include "google/protobuf/message.h"

namespace trapline::daemon {
namespace {

using google::protobuf::MethodDescriptor;
using grpc::internal::MethodHandler;
using grpc::internal::RpcMethod;
using grpc::internal::RpcServiceMethod;

// Names a member of the base class that only derived classes may name; it is called on a service
// of whatever type.
class Handlers : public grpc::Service {
 public:
  static MethodHandler* Of(grpc::Service& service, int method) {
    return (service.*&Handlers::GetHandler)(method);
  }
};

class GuardedHandler final : public MethodHandler {
 public:
  // Whether the call may be made, and then its place among its caller's.
  using Admit = std::function<grpc::Status(const grpc::ServerContextBase&, CallLimits::Place*)>;

  // callback: of a callback method; null for a handler that sends the status that it is given.
  GuardedHandler(MethodHandler* handler, Admit admit, const CallbackMethod* callback)
      : handler_(handler), admit_(std::move(admit)) {
    if (callback != nullptr) refuse_ = callback->refuse;
  }

  void* Deserialize(grpc_call* call, grpc_byte_buffer* request, grpc::Status* status,
                    void** data) override {
    return handler_->Deserialize(call, request, status, data);
  }

  void RunHandler(const HandlerParameter& parameter) override {
    CallLimits::Place place;
    const grpc::Status denied = admit_(*parameter.server_context, &place);
    if (!denied.ok()) {
      Refuse(denied, parameter);
    } else if (refuse_) {
      // It only begins now, and is over when gRPC would ask for the next one.
      auto held = std::make_shared<CallLimits::Place>(std::move(place));
      auto over = [held, next = parameter.call_requester] {
        *held = nullptr;
        next();
      };
      handler_->RunHandler(HandlerParameter(parameter.call, parameter.server_context,
                                            parameter.request, parameter.status,
                                            parameter.internal_data, over));
    } else {
      handler_->RunHandler(parameter);
    }
  }

 private:
  void Refuse(const grpc::Status& denied, const HandlerParameter& parameter) {
    if (refuse_) return refuse_(denied)->RunHandler(parameter);
    // It lies in the call's arena, and a handler only destroys what it uses.
    if (parameter.request != nullptr)
      static_cast<google::protobuf::Message*>(parameter.request)->~Message();
    handler_->RunHandler(HandlerParameter(parameter.call, parameter.server_context, nullptr, denied,
                                          parameter.internal_data, parameter.call_requester));
  }

  MethodHandler* const handler_;
  const Admit admit_;
  std::function<std::unique_ptr<MethodHandler>(const grpc::Status&)> refuse_;
};

RpcMethod::RpcType TypeOf(const MethodDescriptor& method) {
  if (method.client_streaming())
    return method.server_streaming() ? RpcMethod::BIDI_STREAMING : RpcMethod::CLIENT_STREAMING;
  return method.server_streaming() ? RpcMethod::SERVER_STREAMING : RpcMethod::NORMAL_RPC;
}

}  // namespace

GuardedService::GuardedService(grpc::Service& service,
                               const google::protobuf::ServiceDescriptor& descriptor,
                               const Authorizer& authorizer, CallLimits& limits,
                               const std::vector<CallbackMethod>& callback_methods) {
  // Generated services number their methods as their descriptors do.
  for (int i = 0; i < descriptor.method_count(); ++i) {
    const MethodDescriptor& method = *descriptor.method(i);
    paths_.push_back(absl::StrCat("/", descriptor.full_name(), "/", method.name()));
    const auto callback = std::find_if(
        callback_methods.begin(), callback_methods.end(),
        [&](const CallbackMethod& candidate) { return candidate.name == method.name(); });
    const bool calls_back = callback != callback_methods.end();
    // Such a handler of the synchronous API would run whatever the status it is given, so nobody
    // may come to write one.
    if (!calls_back && method.client_streaming()) std::abort();
    const auto kind = calls_back ? CallLimits::Kind::kStream : CallLimits::Kind::kCall;
    auto admit = [&authorizer, &limits, &method, kind](const grpc::ServerContextBase& context,
                                                       CallLimits::Place* place) {
      const Caller caller = CallerOf(*context.auth_context());
      grpc::Status denied = authorizer.Check(caller, method);
      return denied.ok() ? limits.Enter(caller.who, kind, place) : denied;
    };
    auto* handler =
        new GuardedHandler(Handlers::Of(service, i), admit, calls_back ? &*callback : nullptr);
    AddMethod(new RpcServiceMethod(paths_.back().c_str(), TypeOf(method),
                                   calls_back ? nullptr : handler));
    if (calls_back) MarkMethodCallback(i, handler);
  }
}

}  // namespace trapline::daemon
