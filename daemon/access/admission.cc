// SPDX-License-Identifier: Apache-2.0
// From a connection to its caller.
#include "daemon/access/admission.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/access/roles.h"
#include "grpc/grpc_security_constants.h"

namespace trapline::daemon {

grpc::Status Admission::Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*,
                                OutputMetadata*) {
  absl::MutexLock lock(&mutex_);
  if (HasCaller(*context)) return grpc::Status::OK;
  const Caller caller = Identify(*context);
  if (caller.role == v1::ROLE_UNSPECIFIED) {
    return grpc::Status(grpc::PERMISSION_DENIED,
                        absl::StrCat(caller.who,
                                     " has no role here; an administrator gives roles "
                                     "in the [access] sections of traplined's "
                                     "configuration"));
  }
  SetCaller(caller, *context);
  return grpc::Status::OK;
}

void PeerAdmission::Assign(Caller caller) {
  absl::MutexLock lock(&caller_mutex_);
  caller_ = std::move(caller);
}

Caller PeerAdmission::Identify(const grpc::AuthContext&) {
  absl::MutexLock lock(&caller_mutex_);
  return caller_;
}

Caller CertificateAdmission::Identify(const grpc::AuthContext& context) {
  std::vector<San> sans;
  for (const auto& [property, kind] : {std::pair{GRPC_PEER_DNS_PROPERTY_NAME, "dns"},
                                       std::pair{GRPC_PEER_URI_PROPERTY_NAME, "uri"},
                                       std::pair{GRPC_PEER_EMAIL_PROPERTY_NAME, "email"}}) {
    for (const grpc::string_ref& name : context.FindPropertyValues(property))
      sans.push_back({kind, std::string(name.data(), name.size())});
  }
  Caller caller = authorizer_->Identify(sans);
  if (caller.role == v1::ROLE_UNSPECIFIED) on_refused_(caller, "no role");
  return caller;
}

}  // namespace trapline::daemon
