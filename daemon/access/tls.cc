// SPDX-License-Identifier: Apache-2.0
// gRPC's TLS credentials. 1.2 is the least version that they speak.
#include "daemon/access/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace trapline::daemon {
namespace {

constexpr unsigned kRefreshSeconds = 2;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using File = std::unique_ptr<std::FILE, Freed<std::fclose>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

absl::Status Wrong(const char* key, const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("[tls] ", key, " ", path, " ", why));
}

// No passphrase: nobody is there to type one.
int NoPassphrase(char*, int, int, void*) { return -1; }

template <typename Object, typename Read>
absl::StatusOr<Object> ReadPem(const char* key, const std::string& path, const char* what,
                               Read read) {
  File file(std::fopen(path.c_str(), "re"));
  if (!file) return Wrong(key, path, absl::StrCat("cannot be read: ", strerror(errno)));
  Object object(read(file.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!object) return Wrong(key, path, absl::StrCat("has no ", what, " in PEM form"));
  return object;
}

// gRPC would only say later, and in its own log, what is wrong with them.
absl::Status Check(const TlsConfig& config) {
  auto certificate =
      ReadPem<Certificate>("certificate", config.certificate, "certificate", PEM_read_X509);
  if (!certificate.ok()) return certificate.status();
  auto key =
      ReadPem<Key>("key", config.key, "private key without a passphrase", PEM_read_PrivateKey);
  if (!key.ok()) return key.status();
  auto ca = ReadPem<Certificate>("client_ca", config.client_ca, "certificate", PEM_read_X509);
  if (!ca.ok()) return ca.status();
  const bool fits = X509_check_private_key(certificate->get(), key->get()) == 1;
  ERR_clear_error();
  if (!fits) return Wrong("key", config.key, absl::StrCat("is not that of ", config.certificate));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TlsCredentials(
    const TlsConfig& config, std::shared_ptr<CertificateAdmission> admission) {
  if (absl::Status status = Check(config); !status.ok()) return status;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          config.key, config.certificate, config.client_ca, kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  auto credentials = grpc::experimental::TlsServerCredentials(options);
  credentials->SetAuthMetadataProcessor(std::move(admission));
  return credentials;
}

}  // namespace trapline::daemon
