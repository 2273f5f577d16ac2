// SPDX-License-Identifier: Apache-2.0
// `trapline vm registers|memory|disassemble`: a look into a guest.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/hex_text.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  uint32_t vcpu = 0;
  uint64_t address = 0;
  CLI::Option* address_option = nullptr;  // to see whether it was given
  uint64_t size = 256;
  uint32_t count = 16;
  bool physical = false;
};

void AddVcpu(CLI::App& app, Flags& flags) {
  app.add_option("--vcpu", flags.vcpu, "Which virtual CPU")->type_name("N")->capture_default_str();
}

// People's text, or the API's document.
absl::StatusOr<int> Print(const Output& out, const std::string& text,
                          const google::protobuf::Message& document) {
  const absl::Status status = out.people() ? out.Text(text) : out.Document(document);
  if (!status.ok()) return status;
  return kOk;
}

void AddRegisters(Commands& commands, CLI::App& vm) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(vm,
                               {.name = "registers",
                                .description = "The registers of a virtual CPU",
                                .examples = "trapline vm registers debian --vcpu 2"},
                               [flags](Session& session) -> absl::StatusOr<int> {
                                 v1::ReadRegistersRequest request;
                                 request.set_name(flags->vm);
                                 request.set_vcpu(flags->vcpu);
                                 const auto response = session.Call(
                                     session.vms(), &v1::Vms::Stub::ReadRegisters, request);
                                 if (!response.ok()) return response.status();
                                 return Print(session.output(), RegisterText(*response), *response);
                               });
  AddVm(app, flags->vm);
  AddVcpu(app, *flags);
}

absl::StatusOr<int> ReadMemory(Session& session, const Flags& flags) {
  v1::ReadMemoryRequest request;
  request.set_name(flags.vm);
  request.set_address(flags.address);
  request.set_size(flags.size);
  request.set_physical(flags.physical);
  request.set_vcpu(flags.vcpu);
  const auto response = session.Call(session.vms(), &v1::Vms::Stub::ReadMemory, request);
  if (!response.ok()) return response.status();
  return Print(session.output(), HexDump(flags.address, response->data()), *response);
}

void AddMemory(Commands& commands, CLI::App& vm) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app =
      commands.Add(vm,
                   {.name = "memory",
                    .description = "Guest memory at a linear address, as a virtual CPU sees it",
                    .examples = "trapline vm memory debian 0xffffffff81000000 --size 64\n"
                                "trapline vm memory debian 0x7c00 --physical"},
                   [flags](Session& session) { return ReadMemory(session, *flags); });
  AddVm(app, flags->vm);
  AddNumber(app, "ADDRESS", flags->address, "Where, for example 0x7c00")->required()->type_name("");
  AddSize(app, "--size", flags->size, "How many bytes")->default_str("256");
  app.add_flag("--physical", flags->physical, "The address is guest-physical");
  AddVcpu(app, *flags);
}

absl::StatusOr<int> Disassemble(Session& session, const Flags& flags) {
  v1::DisassembleRequest request;
  request.set_name(flags.vm);
  request.set_vcpu(flags.vcpu);
  if (flags.address_option->count() > 0) request.set_address(flags.address);
  request.set_count(flags.count);
  const auto response = session.Call(session.vms(), &v1::Vms::Stub::Disassemble, request);
  if (!response.ok()) return response.status();
  return Print(session.output(), InstructionText(*response, session.output().colour()), *response);
}

void AddDisassemble(Commands& commands, CLI::App& vm) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app =
      commands.Add(vm,
                   {.name = "disassemble",
                    .description = "Instructions at a linear address, or where a virtual CPU is",
                    .examples = "trapline vm disassemble debian --vcpu 1\n"
                                "trapline vm disassemble debian 0xffffffff81000000 --count 8"},
                   [flags](Session& session) { return Disassemble(session, *flags); });
  AddVm(app, flags->vm);
  flags->address_option =
      AddNumber(app, "ADDRESS", flags->address, "Where (default: where the virtual CPU is)")
          ->type_name("");
  app.add_option("-n,--count", flags->count, "How many instructions")
      ->type_name("N")
      ->capture_default_str();
  AddVcpu(app, *flags);
}

}  // namespace

void AddVmInspectCommands(Commands& commands, CLI::App& vm) {
  AddRegisters(commands, vm);
  AddMemory(commands, vm);
  AddDisassemble(commands, vm);
}

}  // namespace trapline::cli
