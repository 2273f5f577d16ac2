// SPDX-License-Identifier: Apache-2.0
// Roles are ordered: each includes those before it.
#include "daemon/access/roles.h"

namespace trapline::daemon {

std::string RoleName(v1::Role role) {
  switch (role) {
    case v1::ROLE_VIEWER:
      return "viewer";
    case v1::ROLE_OPERATOR:
      return "operator";
    case v1::ROLE_ADMIN:
      return "admin";
    default:
      return "none";
  }
}

v1::Role RequiredRole(const google::protobuf::MethodDescriptor& method) {
  return method.options().GetExtension(v1::required_role);
}

bool Suffices(v1::Role has, v1::Role needs) {
  return v1::Role_IsValid(has) && v1::Role_IsValid(needs) && needs != v1::ROLE_UNSPECIFIED &&
         has >= needs;
}

}  // namespace trapline::daemon
