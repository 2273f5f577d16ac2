// SPDX-License-Identifier: Apache-2.0
// Records a VM's events and output.
#include "tests/vm/running_vm.h"

#include "core/engine/direct/probe.h"

namespace trapline::vm {

RunningVm::RunningVm(const VmConfig& config) {
  Observer observer;
  observer.on_event = [this](const Event& event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(event);
  };
  observer.on_console_output = [this](std::string_view bytes) {
    absl::MutexLock lock(&mutex_);
    output_.append(bytes);
  };
  auto vm = Vm::Create(config, std::move(observer));
  made_ = vm.status();
  if (vm.ok()) vm_ = *std::move(vm);
}

bool RunningVm::AwaitEnd(absl::Duration within) {
  absl::MutexLock lock(&mutex_);
  auto over = [this] {
    return !events_.empty() && (events_.back().kind == EventKind::kStopped ||
                                events_.back().kind == EventKind::kFailed);
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&over), within);
}

bool RunningVm::AwaitOutput(const std::string& text, int times) {
  absl::MutexLock lock(&mutex_);
  auto said = [&] {
    size_t at = 0;
    for (int i = 0; i < times; ++i) {
      size_t found = output_.find(text, at);
      if (found == std::string::npos) return false;
      at = found + text.size();
    }
    return true;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&said), absl::Minutes(2));
}

std::string RunningVm::output() {
  absl::MutexLock lock(&mutex_);
  return output_;
}

std::vector<EventKind> RunningVm::events() {
  absl::MutexLock lock(&mutex_);
  std::vector<EventKind> kinds;
  for (const Event& event : events_) kinds.push_back(event.kind);
  return kinds;
}

std::vector<EngineKind> TestedEngines() {
  if (!engine::direct::ProbeHost().missing.empty()) return {EngineKind::kSoft};
  return {EngineKind::kSoft, EngineKind::kDirect};
}

std::string EngineName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kDirect ? "Direct" : "Soft";
}

VmConfig GuestConfig(const std::string& name, const std::string& command_line, uint32_t vcpus,
                     EngineKind engine) {
  VmConfig config;
  config.engine = engine;
  config.name = name;
  config.vcpus = vcpus;
  config.memory_bytes = uint64_t{64} << 20;
  config.kernel_path = std::string(TRAPLINE_GUESTS_DIR) + "/" + name + ".elf";
  config.command_line = command_line;
  return config;
}

}  // namespace trapline::vm
