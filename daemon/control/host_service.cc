// SPDX-License-Identifier: Apache-2.0
// The Host service.
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/cycles.h"
#include "core/engine/direct/probe.h"
#include "core/vm/limits.h"
#include "daemon/common/convert.h"
#include "daemon/control/services.h"

namespace trapline::daemon {
namespace {

std::string CpuModel() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

void AddEngine(v1::HostInfo* info, v1::Engine engine, bool available, const std::string& reason) {
  auto* added = info->add_engines();
  added->set_engine(engine);
  added->set_available(available);
  added->set_reason(reason);
}

// What engine `direct` makes of `vmcall` here.
std::string VmcallHere(engine::direct::TrapKind vmcall) {
  using engine::direct::TrapKind;
  switch (vmcall) {
    case TrapKind::kInvalidOpcode:
      return "vmcall raises #UD here, as lguest had it";
    case TrapKind::kGeneralProtection:
      return "vmcall raises #GP here";
    case TrapKind::kOther:
      return "vmcall raises another fault here, so sites are armed with ud2 at load";
    case TrapKind::kSilent:
      return "vmcall is silent here, so sites are armed with ud2 at load";
    case TrapKind::kRewritten:
      return "the hypervisor below rewrites vmcall, so sites are armed with ud2 at load";
    case TrapKind::kUnknown:
      break;
  }
  return "what vmcall does here was not found out, so sites are armed with ud2 at load";
}

void AddDirectEngine(v1::HostInfo* info, const engine::direct::HostProbe& probe) {
  AddEngine(info, v1::ENGINE_DIRECT, probe.missing.empty(),
            probe.missing.empty()
                ? absl::StrCat("guests of our paravirtual ABI run natively, deprivileged; ",
                               VmcallHere(probe.vmcall))
                : probe.missing);
}

}  // namespace

grpc::Status HostService::GetHostInfo(grpc::ServerContext*, const v1::GetHostInfoRequest*,
                                      v1::HostInfo* response) {
  const engine::direct::HostProbe& probe = registry_.host_probe().Get();
  utsname system;
  uname(&system);
  response->set_version(TRAPLINE_VERSION);
  response->set_cpu_model(CpuModel());
  response->set_cpus(static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  response->set_memory_bytes(static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                             static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  response->set_kernel(system.release);
  AddEngine(response, v1::ENGINE_SOFT, true, "a software x86-64 CPU; runs anywhere");
  AddDirectEngine(response, probe);
  AddEngine(response, v1::ENGINE_KVM, false, "this version does not have it yet");
  for (const auto& trap : probe.traps) *response->add_traps() = ToProto(trap);
  response->mutable_limits()->set_max_vms(registry_.max_vms());
  response->mutable_limits()->set_max_vcpus_per_vm(vm::kMaxVcpus);
  response->mutable_limits()->set_max_memory_bytes_per_vm(vm::kMaxMemoryBytes);
  response->set_cycles_per_second(base::HostCyclesPerSecond());
  return grpc::Status::OK;
}

}  // namespace trapline::daemon
