// SPDX-License-Identifier: Apache-2.0
// Callers as properties of a connection.
#include "daemon/access/caller.h"

#include <vector>

namespace trapline::daemon {
namespace {

constexpr char kWho[] = "trapline_who", kRole[] = "trapline_role";

std::string Property(const grpc::AuthContext& context, const char* name) {
  const std::vector<grpc::string_ref> values = context.FindPropertyValues(name);
  return values.empty() ? "" : std::string(values[0].data(), values[0].size());
}

}  // namespace

Caller CallerOf(const grpc::AuthContext& context) {
  Caller caller{Property(context, kWho), v1::ROLE_UNSPECIFIED};
  v1::Role_Parse(Property(context, kRole), &caller.role);
  return caller;
}

bool HasCaller(const grpc::AuthContext& context) {
  return !context.FindPropertyValues(kRole).empty();
}

void SetCaller(const Caller& caller, grpc::AuthContext& context) {
  context.AddProperty(kWho, caller.who);
  context.AddProperty(kRole, v1::Role_Name(caller.role));
}

}  // namespace trapline::daemon
