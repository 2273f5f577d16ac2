// SPDX-License-Identifier: Apache-2.0
// `trapline completion bash`: written from the command tree itself, so it knows every command and
// flag there is.
//
// The script walks the words typed so far to find the command they lead to, and offers that
// command's sub-commands, flags, or a flag's values. Names of VMs are asked of the daemon while
// typing, and simply missing if it is down.
#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "cli/exit_code.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kHead =
    R"bash(# bash completion for trapline; load it with: source <(trapline completion bash)
_trapline_words() {
  local candidate
  COMPREPLY=()
  while IFS= read -r candidate; do
    [[ -n $candidate ]] && COMPREPLY+=("$candidate")
  done < <(compgen -W "$1" -- "$2")
}

_trapline_files() {
  local candidate
  COMPREPLY=()
  while IFS= read -r candidate; do
    COMPREPLY+=("$candidate")
  done < <(compgen -f -- "$1")
  compopt -o filenames 2>/dev/null
}

# Names of VMs, and the words in $2.
_trapline_vms() {
  _trapline_words "$2 $(trapline vm ls -o name --timeout 2s 2>/dev/null)" "$1"
}

_trapline_contexts() {
  _trapline_words "$(trapline context ls -o name 2>/dev/null)" "$1"
}

_trapline() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command='' i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$command ${COMP_WORDS[i]}" in
)bash";

constexpr absl::string_view kMiddle = R"bash(        command+=" ${COMP_WORDS[i]}" ;;
    esac
  done
)bash";

struct Walked {
  std::string path;  // " vm ls"
  const CLI::App* app;
};

void Walk(const CLI::App& app, const std::string& path, std::vector<Walked>& out) {
  out.push_back({path, &app});
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_name().empty()) Walk(*sub, absl::StrCat(path, " ", sub->get_name()), out);
  }
}

std::vector<std::string> FlagsOf(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_snames()) flags.push_back(absl::StrCat("-", name));
  for (const std::string& name : option.get_lnames()) flags.push_back(absl::StrCat("--", name));
  return flags;
}

// The shell command that fills COMPREPLY with values of this option; empty where there is nothing
// to offer.
std::string ValueCompletion(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (type == "FILE") return "_trapline_files \"$current\"";
  if (type == "CONTEXT" || option.get_name(true) == "CONTEXT")
    return "_trapline_contexts \"$current\"";
  if (option.get_name(true) == "VM") return "_trapline_vms \"$current\"";
  if (!absl::StrContains(type, '|')) return "";
  return absl::StrCat("_trapline_words '", absl::StrReplaceAll(type, {{"|", " "}}),
                      "' \"$current\"");
}

// One command's branch: a flag's values, else its words, else its argument.
std::string Branch(const Walked& walked) {
  std::string values;
  std::vector<std::string> words;
  std::string argument;
  for (const CLI::Option* option : walked.app->get_options()) {
    const std::vector<std::string> flags = FlagsOf(*option);
    words.insert(words.end(), flags.begin(), flags.end());
    if (option->get_items_expected_max() == 0) continue;
    const std::string completion = ValueCompletion(*option);
    if (flags.empty()) {
      if (argument.empty()) argument = completion;
    } else {
      absl::StrAppend(&values, "        ", absl::StrJoin(flags, "|"), ") ",
                      completion.empty() ? "COMPREPLY=()" : completion, "; return ;;\n");
    }
  }
  std::vector<std::string> subcommands;
  for (const CLI::App* sub : walked.app->get_subcommands([](const CLI::App*) { return true; })) {
    subcommands.push_back(sub->get_name());
  }
  std::string out = absl::StrCat("    '", walked.path, "')\n");
  if (!values.empty())
    absl::StrAppend(&out, "      case \"$previous\" in\n", values, "      esac\n");
  absl::StrAppend(&out, "      if [[ $current == -* ]]; then _trapline_words '",
                  absl::StrJoin(words, " "), "' \"$current\"; return; fi\n      ");
  if (!subcommands.empty() && !argument.empty()) {
    absl::StrAppend(&out, argument, " '", absl::StrJoin(subcommands, " "), "'");
  } else if (!subcommands.empty()) {
    absl::StrAppend(&out, "_trapline_words '", absl::StrJoin(subcommands, " "), "' \"$current\"");
  } else {
    absl::StrAppend(&out, argument.empty() ? "COMPREPLY=()" : argument);
  }
  absl::StrAppend(&out, " ;;\n");
  return out;
}

std::string BashCompletion(const CLI::App& root) {
  std::vector<Walked> commands;
  Walk(root, "", commands);
  std::vector<std::string> paths;
  for (const Walked& walked : commands) {
    if (!walked.path.empty()) paths.push_back(absl::StrCat("'", walked.path, "'"));
  }
  std::string out(kHead);
  absl::StrAppend(&out, "      ", absl::StrJoin(paths, "|"), ")\n", kMiddle,
                  "  case \"$command\" in\n");
  for (const Walked& walked : commands) absl::StrAppend(&out, Branch(walked));
  absl::StrAppend(&out, "  esac\n}\ncomplete -F _trapline trapline\n");
  return out;
}

}  // namespace

void AddCompletionCommand(Commands& commands) {
  CLI::App& group = commands.AddGroup("completion", "Print a shell's completion script");
  CLI::App& root = commands.root();
  commands.Add(
      group,
      {.name = "bash",
       .description = "Completion for bash; needs no daemon",
       .formats = 0,
       .examples = "source <(trapline completion bash)\n"
                   "trapline completion bash > ~/.local/share/bash-completion/completions/trapline",
       .remote = false},
      [&root](Session& session) -> absl::StatusOr<int> {
        const absl::Status status = session.output().Text(BashCompletion(root));
        if (!status.ok()) return status;
        return kOk;
      });
}

}  // namespace trapline::cli
