// SPDX-License-Identifier: Apache-2.0
// Calls of any method by its path, with bytes for a request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/channel.h"
#include "grpcpp/support/status.h"

namespace trapline::daemon {

// One request is sent, whatever kind of method it is; responses are added where somebody wants
// them.
grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                     const std::string& request, std::vector<std::string>* responses = nullptr);

// The services that the server lists by reflection.
std::vector<std::string> ListServices(const std::shared_ptr<grpc::Channel>& channel);

}  // namespace trapline::daemon
