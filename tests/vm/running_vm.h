// SPDX-License-Identifier: Apache-2.0
// A VM with everything it says recorded, for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/vm/vm.h"

namespace trapline::vm {

class RunningVm {
 public:
  explicit RunningVm(const VmConfig& config);
  // OK if the VM could be made.
  const absl::Status& made() const { return made_; }
  Vm& vm() { return *vm_; }
  // Waits until it is stopped or failed; false if it still is not after that time.
  bool AwaitEnd(absl::Duration within = absl::Minutes(1));
  // Waits until the console has said text so often; false after two minutes.
  bool AwaitOutput(const std::string& text, int times = 1);
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
                     uint32_t vcpus = 1, EngineKind engine = EngineKind::kAuto);

// The engines that guests of the paravirtual ABI are to behave alike on, and their names for tests.
std::vector<EngineKind> TestedEngines();
std::string EngineName(const ::testing::TestParamInfo<EngineKind>& info);

}  // namespace trapline::vm
