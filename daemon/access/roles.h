// SPDX-License-Identifier: Apache-2.0
// Roles, and which one a method needs.
#pragma once

#include <string>

#include "google/protobuf/descriptor.h"
#include "trapline/v1/access.pb.h"

namespace trapline::daemon {

// "viewer"; "none" for ROLE_UNSPECIFIED.
std::string RoleName(v1::Role role);

// What the method declares; ROLE_UNSPECIFIED where it declares nothing, and then nobody may call
// it.
v1::Role RequiredRole(const google::protobuf::MethodDescriptor& method);

// Whether who has the one role may do what needs the other: no role may do nothing, and what
// declares no role may be done by none.
bool Suffices(v1::Role has, v1::Role needs);

}  // namespace trapline::daemon
