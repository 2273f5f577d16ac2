// SPDX-License-Identifier: Apache-2.0
// TLS for the API: mutual, TLS 1.2 or later, certificates read again when their files change.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "daemon/access/access_config.h"
#include "daemon/access/admission.h"
#include "grpcpp/security/server_credentials.h"

namespace trapline::daemon {

// INVALID_ARGUMENT, naming the key of the configuration: a file that cannot be read or is not PEM,
// or a key that is not the certificate's.
//
// The files are looked at every two seconds from then on. While key and certificate do not fit
// together nobody new comes in; connections that are open stay.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TlsCredentials(
    const TlsConfig& config, std::shared_ptr<CertificateAdmission> admission);

}  // namespace trapline::daemon
