// SPDX-License-Identifier: Apache-2.0
// Which services make up the API.
#pragma once

#include <vector>

#include "google/protobuf/descriptor.h"

namespace trapline::daemon {

// Trapline's own, without health and reflection, which gRPC brings along.
std::vector<const google::protobuf::ServiceDescriptor*> PublicServices();

}  // namespace trapline::daemon
