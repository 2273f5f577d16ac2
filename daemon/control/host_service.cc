// SPDX-License-Identifier: Apache-2.0
// The Host service.
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "core/vm/limits.h"
#include "daemon/control/services.h"
#include "daemon/control/trap_probe.h"

namespace trapline::daemon {
namespace {

std::string CpuModel() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

void AddEngine(v1::HostInfo* info, v1::Engine engine, bool available, const char* reason) {
  auto* added = info->add_engines();
  added->set_engine(engine);
  added->set_available(available);
  added->set_reason(reason);
}

}  // namespace

grpc::Status HostService::GetHostInfo(grpc::ServerContext*, const v1::GetHostInfoRequest*,
                                      v1::HostInfo* response) {
  static const std::vector<TrapResult> traps = ProbeTraps();
  utsname system;
  uname(&system);
  response->set_version(TRAPLINE_VERSION);
  response->set_cpu_model(CpuModel());
  response->set_cpus(static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  response->set_memory_bytes(static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                             static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  response->set_kernel(system.release);
  AddEngine(response, v1::ENGINE_SOFT, true, "a software x86-64 CPU; runs anywhere");
  AddEngine(response, v1::ENGINE_DIRECT, false, "this version does not have it yet");
  AddEngine(response, v1::ENGINE_KVM, false, "this version does not have it yet");
  for (const TrapResult& trap : traps) {
    auto* added = response->add_traps();
    added->set_instruction(trap.instruction);
    added->set_signal(trap.signal);
    added->set_cycles(trap.cycles);
  }
  response->mutable_limits()->set_max_vms(registry_.max_vms());
  response->mutable_limits()->set_max_vcpus_per_vm(vm::kMaxVcpus);
  response->mutable_limits()->set_max_memory_bytes_per_vm(vm::kMaxMemoryBytes);
  return grpc::Status::OK;
}

}  // namespace trapline::daemon
