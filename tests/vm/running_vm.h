// SPDX-License-Identifier: Apache-2.0
// A VM with everything it says recorded, for tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/vm/vm.h"

namespace trapline::vm {

class RunningVm {
 public:
  explicit RunningVm(const VmConfig& config);
  // OK if the VM could be made.
  const absl::Status& made() const { return made_; }
  Vm& vm() { return *vm_; }
  // Waits until it is stopped or failed; false after a minute.
  bool AwaitEnd();
  // Waits until the console has said text; false after two minutes.
  bool AwaitOutput(const std::string& text);
  std::string output();
  std::vector<EventKind> events();

 private:
  absl::Mutex mutex_;
  std::string output_;
  std::vector<Event> events_;
  absl::Status made_;
  std::unique_ptr<Vm> vm_;
};

// build/guests/NAME.elf with a command line.
VmConfig GuestConfig(const std::string& name, const std::string& command_line = "",
                     uint32_t vcpus = 1);

}  // namespace trapline::vm
