// SPDX-License-Identifier: Apache-2.0
// Named daemons: the command line's configuration file.
//
//   current = "lab"
//
//   [contexts.lab]
//   host = "lab.example:7443"
//   ca_cert = "/home/ann/lab/ca.pem"
//   cert = "/home/ann/lab/ann.pem"
//   key = "/home/ann/lab/ann.key"
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {

// Paths of PEM files; all of them, or none for a connection that is not encrypted.
struct TlsFiles {
  std::string ca_cert;    // what the daemon's certificate has to be signed by
  std::string cert, key;  // who we are

  bool any() const { return !ca_cert.empty() || !cert.empty() || !key.empty(); }
};

struct Context {
  std::string host;
  TlsFiles tls;
};

struct Contexts {
  std::string current;  // empty: none
  std::map<std::string, Context> named;
};

// $TRAPLINE_CONFIG, else trapline/config.toml in $XDG_CONFIG_HOME or ~/.config; empty where there
// is no such place.
std::string ContextsPath();

// INVALID_ARGUMENT: what is wrong, with the file, the line and the key.
absl::StatusOr<Contexts> ParseContexts(absl::string_view text, const std::string& name);
// None where there is no such file, and TRAPLINE_CONFIG does not name it.
absl::StatusOr<Contexts> LoadContexts();

// As the file has them.
std::string FormatContexts(const Contexts& contexts);
// Replaces the file.
absl::Status SaveContexts(const Contexts& contexts);

// NOT_FOUND, with the names that there are.
absl::StatusOr<Context> FindContext(const Contexts& contexts, const std::string& name);

}  // namespace trapline::cli
