// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a connection, as gRPC carries it to the calls that come over it: as
// properties of the connection's AuthContext, which clients have no hand in.
#pragma once

#include <string>

#include "grpcpp/security/auth_context.h"
#include "trapline/v1/access.pb.h"

namespace trapline::daemon {

struct Caller {
  // "user 1001 (bob)", "certificate dns:ci.example".
  std::string who;
  v1::Role role = v1::ROLE_UNSPECIFIED;
};

// What SetCaller wrote; one without a role where it never did.
Caller CallerOf(const grpc::AuthContext& context);

bool HasCaller(const grpc::AuthContext& context);

// Once for each context, and not while anyone else uses it.
void SetCaller(const Caller& caller, grpc::AuthContext& context);

}  // namespace trapline::daemon
