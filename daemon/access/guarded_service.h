// SPDX-License-Identifier: Apache-2.0
// A service in which every method is called only by who may, and not too often at once.
//
// gRPC C++ offers two places to refuse a call. An AuthMetadataProcessor has the path but neither
// the request nor a way to send details along; an interceptor of a server has the request but
// cannot keep the handler from running. So this stands where a generated service stands: it has the
// methods of the service within, each with a handler that asks first and then runs the other one. A
// call that is refused ends as one whose request could not be read does, its request unused; it
// passes interceptors like any other, so it is counted, and the audit log knows its VM. Callback
// methods have no such end, so a handler of their kind that does nothing else is run instead.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/access/authorizer.h"
#include "daemon/access/call_limits.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/impl/rpc_service_method.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

namespace trapline::daemon {

// A method that the service implements with gRPC's callback API, and how one of its kind refuses.
struct CallbackMethod {
  std::string name;
  std::function<std::unique_ptr<grpc::internal::MethodHandler>(const grpc::Status&)> refuse;
};

class GuardedService final : public grpc::Service {
 public:
  // All have to outlive this, and the limits the server too.
  GuardedService(grpc::Service& service, const google::protobuf::ServiceDescriptor& descriptor,
                 const Authorizer& authorizer, CallLimits& limits,
                 const std::vector<CallbackMethod>& callback_methods);

 private:
  std::deque<std::string> paths_;  // gRPC keeps pointers to them
};

// ---- Refusals of callback methods ----

class RefusedUnary final : public grpc::ServerUnaryReactor {
 public:
  explicit RefusedUnary(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

template <typename Response>
class RefusedWrites final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedWrites(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

// Waits for the first request, which says what it would have been about.
template <typename Request, typename Response>
class RefusedDialogue final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit RefusedDialogue(grpc::Status status) : status_(std::move(status)) {
    this->StartRead(&request_);
  }
  void OnReadDone(bool) override { this->Finish(status_); }
  void OnDone() override { delete this; }

 private:
  const grpc::Status status_;
  Request request_;
};

template <typename Request, typename Response>
CallbackMethod UnaryCallback(const std::string& name) {
  using Handler = grpc::internal::CallbackUnaryHandler<Request, Response>;
  return {
      name, [](const grpc::Status& status) {
        return std::make_unique<Handler>([status](grpc::CallbackServerContext*, const Request*,
                                                  Response*) { return new RefusedUnary(status); });
      }};
}

template <typename Request, typename Response>
CallbackMethod ServerStreamCallback(const std::string& name) {
  using Handler = grpc::internal::CallbackServerStreamingHandler<Request, Response>;
  return {
      name, [](const grpc::Status& status) {
        return std::make_unique<Handler>([status](grpc::CallbackServerContext*, const Request*) {
          return new RefusedWrites<Response>(status);
        });
      }};
}

template <typename Request, typename Response>
CallbackMethod DialogueCallback(const std::string& name) {
  using Handler = grpc::internal::CallbackBidiHandler<Request, Response>;
  return {name, [](const grpc::Status& status) {
            return std::make_unique<Handler>([status](grpc::CallbackServerContext*) {
              return new RefusedDialogue<Request, Response>(status);
            });
          }};
}

}  // namespace trapline::daemon
