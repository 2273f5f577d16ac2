// SPDX-License-Identifier: Apache-2.0
// The interceptor that audits.
#include "daemon/access/audit_calls.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "daemon/access/roles.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/server_context.h"

namespace trapline::daemon {
namespace {

using google::protobuf::Message;
using grpc::experimental::InterceptionHookPoints;

std::string CodeName(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));  // the numbers are the same
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status full;
  google::rpc::ErrorInfo info;
  full.ParseFromString(status.error_details());
  for (const auto& detail : full.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

}  // namespace

std::string ResourceOf(const Message& request) {
  const auto* descriptor = request.GetDescriptor();
  for (const auto& [field, prefix] :
       {std::pair{"name", ""}, std::pair{"parent", ""}, std::pair{"vm_id", "vms/"}}) {
    const auto* found = descriptor->FindFieldByName(field);
    if (found == nullptr || found->is_repeated() ||
        found->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING)
      continue;
    return absl::StrCat(prefix, request.GetReflection()->GetString(request, found));
  }
  return "";
}

// One call, from its arrival to its status.
class AuditCalls::Call final : public grpc::experimental::Interceptor {
 public:
  Call(AuditLog& log, const Method& method, grpc::ServerContextBase& context)
      : log_(log), method_(method), context_(context) {}
  ~Call() override {
    if (begun_) End(grpc::Status::CANCELLED);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE))
      Begin(batch->GetRecvMessage());
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Identify();
      End(batch->GetSendStatus());
    }
    batch->Proceed();
  }

 private:
  // The caller cannot be asked for when the context is about to go.
  void Identify() {
    if (caller_.role == v1::ROLE_UNSPECIFIED) caller_ = CallerOf(*context_.auth_context());
  }

  // message: null where the stream ended. The first one of a stream says what it is about.
  void Begin(void* message) {
    if (message == nullptr || std::exchange(begun_, true)) return;
    Identify();
    // Generated messages have no base but Message.
    resource_ = ResourceOf(*static_cast<const Message*>(message));
  }

  void End(const grpc::Status& status) {
    if (std::exchange(over_, true)) return;
    if (!method_.always && status.error_code() != grpc::PERMISSION_DENIED) return;
    log_.Write({caller_, method_.name, resource_, CodeName(status.error_code()), ReasonOf(status),
                status.error_message()});
  }

  AuditLog& log_;
  const Method& method_;
  grpc::ServerContextBase& context_;
  Caller caller_;
  std::string resource_;
  bool begun_ = false, over_ = false;
};

class AuditCalls::Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(AuditCalls& calls) : calls_(calls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const auto known = calls_.methods_.find(info->method());
    if (known == calls_.methods_.end()) return nullptr;  // health, reflection, what does not exist
    return new Call(calls_.log_, known->second, *info->server_context());
  }

 private:
  AuditCalls& calls_;
};

AuditCalls::AuditCalls(AuditLog& log,
                       const std::vector<const google::protobuf::ServiceDescriptor*>& services)
    : log_(log) {
  for (const auto* service : services) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      const std::string name = absl::StrCat(service->full_name(), "/", method->name());
      methods_["/" + name] = {name, RequiredRole(*method) != v1::ROLE_VIEWER};
    }
  }
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> AuditCalls::Interceptors() {
  return std::make_unique<Factory>(*this);
}

}  // namespace trapline::daemon
