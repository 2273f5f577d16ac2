// SPDX-License-Identifier: Apache-2.0
// Reflection holds a thread as long as its client likes, and is gRPC's own service, which nothing
// can stand before (guarded_service.h). So an interceptor counts its calls among their caller's,
// and cancels those that are too many: all that one can do.
#pragma once

#include <memory>

#include "daemon/access/call_limits.h"
#include "grpcpp/support/server_interceptor.h"

namespace trapline::daemon {

// For ServerBuilder. The limits have to outlive the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> LimitReflection(
    CallLimits& limits);

}  // namespace trapline::daemon
