// SPDX-License-Identifier: Apache-2.0
// A handshake by OpenSSL.
#include "tests/api/tls_handshake.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>

#include "core/base/unique_fd.h"

namespace trapline::daemon {
namespace {

std::string SerialOf(SSL* ssl) {
  std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl),
                                                          X509_free);
  if (!certificate) return "";
  std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr), BN_free);
  char* text = BN_bn2hex(number.get());
  std::string serial = text;
  OPENSSL_free(text);
  return serial;
}

}  // namespace

Handshake ShakeHands(int port, int newest, const std::string& directory) {
  base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                            SSL_CTX_free);
  SSL_CTX_set_security_level(context.get(), 0);  // or OpenSSL itself would refuse the old ones
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), newest);
  EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context.get(), (directory + "/admin.pem").c_str()),
            1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context.get(), (directory + "/admin.key").c_str(),
                                        SSL_FILETYPE_PEM),
            1);
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  const unsigned char http2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), http2, sizeof http2);
  SSL_set_fd(ssl.get(), fd.get());
  Handshake handshake;
  handshake.done = SSL_connect(ssl.get()) == 1;
  if (handshake.done) handshake.server_serial = SerialOf(ssl.get());
  ERR_clear_error();
  return handshake;
}

}  // namespace trapline::daemon
