// SPDX-License-Identifier: Apache-2.0
// Chooses the daemon.
#include "cli/endpoint.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/status.h"

namespace trapline::cli {
namespace {

// What has been chosen, before it is looked at.
struct Choice {
  std::string host, origin;
  TlsFiles tls;
};

absl::StatusOr<Choice> FromContext(const EndpointFlags& flags) {
  auto contexts = LoadContexts();
  if (!contexts.ok()) return contexts.status();
  const std::string name = flags.context.empty() ? contexts->current : flags.context;
  if (name.empty()) return Choice{DefaultHost(), "", {}};
  auto context = FindContext(*contexts, name);
  if (!context.ok()) return context.status();
  return Choice{context->host, absl::StrCat("context ", name), context->tls};
}

absl::StatusOr<Choice> Choose(const EndpointFlags& flags) {
  const char* host = std::getenv("TRAPLINE_HOST");
  absl::StatusOr<Choice> choice;
  if (flags.context.empty() && !flags.host.empty()) {
    choice = Choice{flags.host, "--host", {}};
  } else if (flags.context.empty() && host != nullptr && *host != '\0') {
    choice = Choice{host, "TRAPLINE_HOST", {}};
  } else {
    choice = FromContext(flags);
    if (choice.ok() && !flags.host.empty()) choice->host = flags.host;
  }
  if (!choice.ok()) return choice;
  if (!flags.tls.ca_cert.empty()) choice->tls.ca_cert = flags.tls.ca_cert;
  if (!flags.tls.cert.empty()) choice->tls.cert = flags.tls.cert;
  if (!flags.tls.key.empty()) choice->tls.key = flags.tls.key;
  return choice;
}

std::string From(const std::string& origin) {
  return origin.empty() || origin == "--host" ? "" : absl::StrCat(" (", origin, ")");
}

absl::Status CheckTls(const Choice& choice, const Address& address) {
  const TlsFiles& tls = choice.tls;
  if (!address.unix_path.empty()) {
    if (!tls.any()) return absl::OkStatus();
    return UsageError("--cert", absl::StrCat("a Unix socket takes no certificates: ", address.text,
                                             From(choice.origin)));
  }
  const std::pair<const char*, const std::string&> flags[] = {
      {"--ca-cert", tls.ca_cert}, {"--cert", tls.cert}, {"--key", tls.key}};
  for (const auto& [flag, path] : flags) {
    if (!path.empty() || !tls.any()) continue;
    return UsageError(flag, absl::StrCat("is missing; ", address.text, From(choice.origin),
                                         " takes --ca-cert, --cert and --key"));
  }
  if (tls.any() || address.loopback) return absl::OkStatus();
  return WithHint(
      UsageError("--host", absl::StrCat("'", address.text, "'", From(choice.origin),
                                        " is another machine, which takes certificates: --ca-cert, "
                                        "--cert and --key, or a context that has them")),
      "without them a tunnel may do: ssh -L 7400:/run/trapline/traplined.sock HOST, then "
      "--host localhost:7400");
}

absl::StatusOr<std::string> ReadPem(const char* flag, const std::string& path,
                                    const std::string& origin) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file.is_open() || file.bad() || text.empty()) {
    return absl::ErrnoToStatus(errno == 0 ? EINVAL : errno,
                               absl::StrCat(flag, " ", path, From(origin), " cannot be read"));
  }
  if (text.find("-----BEGIN ") == std::string::npos) {
    return UsageError(flag, absl::StrCat(path, From(origin), " is not in PEM form"));
  }
  return text;
}

}  // namespace

absl::StatusOr<Endpoint> ChooseEndpoint(const EndpointFlags& flags) {
  absl::StatusOr<Choice> choice = Choose(flags);
  if (!choice.ok()) return choice.status();
  absl::StatusOr<Address> address = ParseAddress(choice->host);
  if (!address.ok()) return address.status();
  if (absl::Status status = CheckTls(*choice, *address); !status.ok()) return status;
  return Endpoint{*std::move(address), choice->origin, choice->tls};
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const Endpoint& endpoint) {
  if (!endpoint.tls.any()) return grpc::InsecureChannelCredentials();
  auto ca = ReadPem("--ca-cert", endpoint.tls.ca_cert, endpoint.origin);
  if (!ca.ok()) return ca.status();
  auto cert = ReadPem("--cert", endpoint.tls.cert, endpoint.origin);
  if (!cert.ok()) return cert.status();
  auto key = ReadPem("--key", endpoint.tls.key, endpoint.origin);
  if (!key.ok()) return key.status();
  return grpc::SslCredentials({*std::move(ca), *std::move(key), *std::move(cert)});
}

absl::Status ExplainUnreachable(const Endpoint& endpoint, const absl::Status& failure) {
  const std::string where = absl::StrCat(endpoint.address.text, From(endpoint.origin));
  if (!endpoint.tls.any()) return ExplainUnreachable(endpoint.address, where, failure);
  return WithHint(
      absl::UnavailableError(
          absl::StrCat("cannot reach traplined at ", where, ": ", failure.message())),
      absl::StrCat("it has to listen there (traplined --listen-tcp), with a certificate for that "
                   "name that ",
                   endpoint.tls.ca_cert, " signed; and to accept ", endpoint.tls.cert));
}

}  // namespace trapline::cli
