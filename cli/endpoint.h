// SPDX-License-Identifier: Apache-2.0
// Which daemon a command talks to, and how: from flags, the environment, a named context or the
// default.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/address.h"
#include "cli/contexts.h"
#include "grpcpp/security/credentials.h"

namespace trapline::cli {

// The flags. Empty ones were not given.
struct EndpointFlags {
  std::string host, context;
  TlsFiles tls;
  bool any() const { return !host.empty() || !context.empty() || tls.any(); }
};

struct Endpoint {
  Address address;
  std::string origin;  // "--host", "TRAPLINE_HOST", "context lab"; empty for the default
  TlsFiles tls;        // none: a Unix socket, or a tunnel that ends on this machine
};

// --context, else --host, else TRAPLINE_HOST, else the current context, else the default. --host
// and the certificates' flags replace what a context that was asked for says. INVALID_ARGUMENT
// where that does not fit together; NOT_FOUND: no such context.
absl::StatusOr<Endpoint> ChooseEndpoint(const EndpointFlags& flags);

// Reads the certificates. INVALID_ARGUMENT or NOT_FOUND, naming the file and where its name is
// from.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const Endpoint& endpoint);

// What a call that did not reach the daemon failed with, so that people can tell why.
absl::Status ExplainUnreachable(const Endpoint& endpoint, const absl::Status& failure);

}  // namespace trapline::cli
