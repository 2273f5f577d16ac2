// SPDX-License-Identifier: Apache-2.0
// What a hypercall costs inside one process, without daemon: `hypercall_cost GUEST TECHNIQUE RUNS
// CALLS` runs hypercall_bench.elf and prints its figures, cycles per call. Built twice, see
// counting.sh.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/vm/vm.h"

int main(int argc, char** argv) {
  using namespace trapline;
  if (argc != 5) {
    std::fprintf(stderr, "usage: hypercall_cost GUEST emulate|interrupt|linked RUNS CALLS\n");
    return 2;
  }
  std::string technique = argv[2];
  vm::VmConfig config;
  config.name = "cost";
  config.engine = vm::EngineKind::kSoft;  // whose every call the core counts
  config.memory_bytes = uint64_t{64} << 20;
  config.kernel_path = argv[1];
  config.command_line =
      absl::StrCat("technique=", technique, " runs=", argv[3], " calls=", argv[4]);
  config.policy.interrupt_after = config.policy.linked_after = 1;
  config.policy.limit = technique == "emulate"     ? hypercall::Technique::kEmulate
                        : technique == "interrupt" ? hypercall::Technique::kInterrupt
                                                   : hypercall::Technique::kLinked;
  absl::Notification over;
  vm::Observer observer;
  observer.on_console_output = [](std::string_view bytes) {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  };
  observer.on_event = [&](const vm::Event& event) {
    if (event.kind == vm::EventKind::kStopped || event.kind == vm::EventKind::kFailed)
      over.Notify();
  };
  auto made = vm::Vm::Create(config, std::move(observer));
  absl::Status status = made.ok() ? (*made)->Start() : made.status();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  over.WaitForNotification();
  return (*made)->exit_status() > 0 ? 1 : 0;
}
