// SPDX-License-Identifier: Apache-2.0
// Which calls go into the audit log: those that were denied, and those that need more than the
// viewer's role. Seen by an interceptor of the server's.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/access/audit_log.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/server_interceptor.h"

namespace trapline::daemon {

// What the request is about: its `name`, its `parent`, or the VM whose `vm_id` it chooses.
std::string ResourceOf(const google::protobuf::Message& request);

// Thread-safe: never changes.
class AuditCalls {
 public:
  AuditCalls(AuditLog& log,
             const std::vector<const google::protobuf::ServiceDescriptor*>& services);

  // For ServerBuilder. This object has to outlive the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Interceptors();

 private:
  class Factory;
  class Call;
  struct Method {
    std::string name;
    bool always = false;  // not only when it was denied
  };

  AuditLog& log_;
  std::unordered_map<std::string, Method> methods_;  // by the path that is called
};

}  // namespace trapline::daemon
