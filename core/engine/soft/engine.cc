// SPDX-License-Identifier: Apache-2.0
// The engine seam over the software CPU: vCPUs that share RAM, page states and the exclusive
// section.
#include "core/engine/engine.h"

#include <vector>

#include "core/engine/soft/exclusive.h"
#include "core/engine/soft/physical_pages.h"
#include "core/engine/soft/vcpu.h"

namespace trapline::engine {
namespace soft {
namespace {

class SoftEngine final : public Engine {
 public:
  SoftEngine(std::span<const RamRegion> ram, const CpuConfig& config)
      : config_(config), pages_(ram, config.vcpu_count > 1) {}

  absl::StatusOr<std::unique_ptr<Vcpu>> CreateVcpu(uint32_t apic_id, VcpuHost& host) override {
    auto vcpu = std::make_unique<SoftVcpu>(apic_id, config_, host, pages_, exclusive_);
    vcpus_.push_back(vcpu.get());
    exclusive_.AddVcpu([raw = vcpu.get()] { raw->RequestSafePoint(); });
    return vcpu;
  }

  void RunExclusive(absl::FunctionRef<void()> body) override { exclusive_.Run(body); }

  void InvalidateCode(uint64_t gpa, uint64_t size) override { pages_.Invalidate(gpa, size); }

  void SetShadowed(uint64_t gpa, bool shadowed) override {
    RamPage page = pages_.Find(gpa);
    if (!page.state) return;
    page.state->shadowed = shadowed;
    for (SoftVcpu* vcpu : vcpus_) vcpu->FlushTranslations();
  }

 private:
  const CpuConfig config_;
  PhysicalPages pages_;
  Exclusive exclusive_;
  std::vector<SoftVcpu*> vcpus_;
};

}  // namespace
}  // namespace soft

absl::StatusOr<std::unique_ptr<Engine>> CreateSoftEngine(std::span<const RamRegion> ram,
                                                         const CpuConfig& config) {
  if (auto status = soft::PhysicalPages::Check(ram); !status.ok()) return status;
  if (auto status = soft::RegisterMembarrier(); !status.ok()) return status;
  return std::make_unique<soft::SoftEngine>(ram, config);
}

}  // namespace trapline::engine
