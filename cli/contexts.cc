// SPDX-License-Identifier: Apache-2.0
// Reads and writes the command line's configuration file.
#include "cli/contexts.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/staged_file.h"
#include "cli/status.h"
#include "core/base/toml_file.h"

namespace trapline::cli {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<Contexts> Read(absl::StatusOr<std::unique_ptr<config::TomlFile>> file) {
  if (!file.ok()) return file.status();
  const config::Table root = (*file)->root();
  Contexts out;
  out.current = root.Text("current");
  const config::Table all = root.Sub("contexts");
  for (const std::string& name : all.SubNames()) {
    const config::Table table = all.Sub(name);
    Context& context = out.named[name];
    context.host = table.Text("host");
    context.tls = {table.Text("ca_cert"), table.Text("cert"), table.Text("key")};
    if (context.host.empty()) table.Refuse("host", "is missing: unix:///path or HOST:PORT");
  }
  if (!out.current.empty() && !out.named.contains(out.current))
    root.Refuse("current", absl::StrCat("names \"", out.current, "\", which is not in [contexts]"));
  if (absl::Status status = (*file)->Check(); !status.ok()) return status;
  return out;
}

}  // namespace

std::string ContextsPath() {
  if (std::string path = FromEnvironment("TRAPLINE_CONFIG"); !path.empty()) return path;
  std::string base = FromEnvironment("XDG_CONFIG_HOME");
  if (base.empty()) {
    base = FromEnvironment("HOME");
    if (base.empty()) return "";
    base += "/.config";
  }
  return base + "/trapline/config.toml";
}

absl::StatusOr<Contexts> ParseContexts(absl::string_view text, const std::string& name) {
  return Read(config::TomlFile::Parse(std::string_view(text.data(), text.size()), name));
}

absl::StatusOr<Contexts> LoadContexts() {
  const std::string path = ContextsPath();
  if (path.empty()) return Contexts{};
  auto file = config::TomlFile::Load(path);
  const bool wanted = !FromEnvironment("TRAPLINE_CONFIG").empty();
  if (absl::IsNotFound(file.status()) && !wanted) return Contexts{};
  return Read(std::move(file));
}

std::string FormatContexts(const Contexts& contexts) {
  toml::table named;
  for (const auto& [name, context] : contexts.named) {
    toml::table table{{"host", context.host}};
    if (!context.tls.ca_cert.empty()) table.insert("ca_cert", context.tls.ca_cert);
    if (!context.tls.cert.empty()) table.insert("cert", context.tls.cert);
    if (!context.tls.key.empty()) table.insert("key", context.tls.key);
    named.insert(name, std::move(table));
  }
  toml::table root;
  if (!contexts.current.empty()) root.insert("current", contexts.current);
  if (!named.empty()) root.insert("contexts", std::move(named));
  std::ostringstream out;
  out << root << "\n";
  return out.str();
}

absl::Status SaveContexts(const Contexts& contexts) {
  const std::string path = ContextsPath();
  if (path.empty()) {
    return WithHint(absl::FailedPreconditionError("there is no place for a configuration file"),
                    "TRAPLINE_CONFIG names one; otherwise HOME has to be set");
  }
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  auto file = StagedFile::Create("TRAPLINE_CONFIG", path);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(FormatContexts(contexts)); !status.ok()) return status;
  return file->Commit();
}

absl::StatusOr<Context> FindContext(const Contexts& contexts, const std::string& name) {
  const auto found = contexts.named.find(name);
  if (found != contexts.named.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, context] : contexts.named) names.push_back(known);
  return WithHint(
      absl::NotFoundError(absl::StrCat("there is no context ", name, " in ", ContextsPath())),
      names.empty() ? "'trapline context set NAME --host ADDRESS' makes one"
                    : absl::StrCat("there are: ", absl::StrJoin(names, ", ")));
}

}  // namespace trapline::cli
