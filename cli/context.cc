// SPDX-License-Identifier: Apache-2.0
// `trapline context`: names for daemons, kept in a file of the user's own.
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/contexts.h"
#include "cli/exit_code.h"
#include "cli/table.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {
namespace {

google::protobuf::Struct AsDocument(const std::string& name, const Context& context, bool current) {
  google::protobuf::Struct out;
  auto& fields = *out.mutable_fields();
  fields["name"].set_string_value(name);
  fields["current"].set_bool_value(current);
  fields["host"].set_string_value(context.host);
  fields["caCert"].set_string_value(context.tls.ca_cert);
  fields["cert"].set_string_value(context.tls.cert);
  fields["key"].set_string_value(context.tls.key);
  return out;
}

std::string ListText(const Contexts& contexts, bool colour) {
  Table table({{"CURRENT"}, {"NAME"}, {"HOST"}, {"CERTIFICATE"}});
  for (const auto& [name, context] : contexts.named)
    table.Add({name == contexts.current ? "*" : "", name, context.host, context.tls.cert});
  return table.Render(colour);
}

absl::Status List(const Contexts& contexts, const Output& out) {
  if (out.people()) return out.Text(ListText(contexts, out.colour()));
  if (out.format() == Format::kName) {
    std::string names;
    for (const auto& [name, context] : contexts.named) absl::StrAppend(&names, name, "\n");
    return out.Text(names);
  }
  google::protobuf::Struct document;
  auto* list = (*document.mutable_fields())["contexts"].mutable_list_value();
  for (const auto& [name, context] : contexts.named)
    *list->add_values()->mutable_struct_value() =
        AsDocument(name, context, name == contexts.current);
  return out.Document(document);
}

absl::Status Show(const std::string& name, const Context& context, bool current,
                  const Output& out) {
  if (!out.people()) return out.Document(AsDocument(name, context, current));
  Details details;
  details.Add("Name", absl::StrCat(name, current ? " (current)" : ""));
  details.Add("Host", context.host);
  details.AddIfSet("CA", context.tls.ca_cert);
  details.AddIfSet("Certificate", context.tls.cert);
  details.AddIfSet("Key", context.tls.key);
  details.Add("File", ContextsPath());
  return out.Text(details.Render(out.colour()));
}

// Changes the file; what was said about it before is read again first.
absl::StatusOr<int> Change(const std::function<absl::Status(Contexts&)>& change) {
  auto contexts = LoadContexts();
  // The first one may well be put into a file that TRAPLINE_CONFIG names and that is yet to be.
  if (absl::IsNotFound(contexts.status())) contexts = Contexts{};
  if (!contexts.ok()) return contexts.status();
  if (absl::Status status = change(*contexts); !status.ok()) return status;
  if (absl::Status status = SaveContexts(*contexts); !status.ok()) return status;
  return kOk;
}

// The file is used from any directory.
void MakeAbsolute(std::string& path) {
  if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
}

CLI::Option* AddName(CLI::App& app, std::string& name) {
  return app.add_option("CONTEXT", name, "The context's name")->type_name("");
}

void AddLs(Commands& commands, CLI::App& group) {
  commands.Add(group,
               {.name = "ls",
                .description = "List contexts",
                .formats = kListFormats,
                .examples = "trapline context ls",
                .remote = false},
               [](Session& session) -> absl::StatusOr<int> {
                 auto contexts = LoadContexts();
                 if (!contexts.ok()) return contexts.status();
                 if (auto status = List(*contexts, session.output()); !status.ok()) return status;
                 return kOk;
               });
}

void AddShow(Commands& commands, CLI::App& group) {
  auto name = std::make_shared<std::string>();
  CLI::App& app = commands.Add(
      group,
      {.name = "show",
       .description = "Show a context, or the current one",
       .examples = "trapline context show lab",
       .remote = false},
      [name](Session& session) -> absl::StatusOr<int> {
        auto contexts = LoadContexts();
        if (!contexts.ok()) return contexts.status();
        const std::string chosen = name->empty() ? contexts->current : *name;
        if (chosen.empty()) {
          return WithHint(absl::NotFoundError("there is no current context"),
                          absl::StrCat("commands go to ", DefaultHost(),
                                       "; 'trapline context use NAME' has them go elsewhere"));
        }
        auto context = FindContext(*contexts, chosen);
        if (!context.ok()) return context.status();
        auto status = Show(chosen, *context, chosen == contexts->current, session.output());
        if (!status.ok()) return status;
        return kOk;
      });
  AddName(app, *name);
}

void AddUse(Commands& commands, CLI::App& group) {
  auto name = std::make_shared<std::string>();
  CLI::App& app = commands.Add(group,
                               {.name = "use",
                                .description = "Have commands go to this daemon from now on",
                                .formats = 0,
                                .examples = "trapline context use lab",
                                .remote = false},
                               [name](Session&) {
                                 return Change([&](Contexts& contexts) {
                                   contexts.current = *name;
                                   return FindContext(contexts, *name).status();
                                 });
                               });
  AddName(app, *name)->required();
}

void AddSet(Commands& commands, CLI::App& group) {
  auto name = std::make_shared<std::string>();
  auto flags = std::make_shared<Context>();
  CLI::App& app = commands.Add(
      group,
      {.name = "set",
       .description = "Make a context, or change what is given of it",
       .formats = 0,
       .examples = "trapline context set lab --host lab.example:7443 --ca-cert ca.pem --cert "
                   "ann.pem --key ann.key",
       .remote = false},
      [name, flags](Session&) {
        return Change([&](Contexts& contexts) -> absl::Status {
          Context& context = contexts.named[*name];
          if (!flags->host.empty()) context.host = flags->host;
          for (auto file : {&TlsFiles::ca_cert, &TlsFiles::cert, &TlsFiles::key}) {
            if ((flags->tls.*file).empty()) continue;
            context.tls.*file = flags->tls.*file;
            MakeAbsolute(context.tls.*file);
          }
          if (context.host.empty()) return UsageError("--host", "a new context needs one");
          return ParseAddress(context.host).status();
        });
      });
  AddName(app, *name)->required();
  app.add_option("--host", flags->host, "unix:///path or HOST:PORT")->type_name("ADDRESS");
  app.add_option("--ca-cert", flags->tls.ca_cert, "Who signed the daemon's certificate")
      ->type_name("FILE");
  app.add_option("--cert", flags->tls.cert, "Our certificate")->type_name("FILE");
  app.add_option("--key", flags->tls.key, "Its key")->type_name("FILE");
}

void AddRm(Commands& commands, CLI::App& group) {
  auto name = std::make_shared<std::string>();
  CLI::App& app = commands.Add(group,
                               {.name = "rm",
                                .description = "Forget a context",
                                .formats = 0,
                                .examples = "trapline context rm lab",
                                .remote = false},
                               [name](Session&) {
                                 return Change([&](Contexts& contexts) {
                                   const auto status = FindContext(contexts, *name).status();
                                   contexts.named.erase(*name);
                                   if (contexts.current == *name) contexts.current.clear();
                                   return status;
                                 });
                               });
  AddName(app, *name)->required();
}

}  // namespace

void AddContextCommands(Commands& commands) {
  CLI::App& group = commands.AddGroup("context", "Names for daemons, with their certificates");
  AddLs(commands, group);
  AddShow(commands, group);
  AddUse(commands, group);
  AddSet(commands, group);
  AddRm(commands, group);
}

}  // namespace trapline::cli
