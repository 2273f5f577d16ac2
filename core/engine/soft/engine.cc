// SPDX-License-Identifier: Apache-2.0
// The engine seam over the software CPU: vCPUs that share RAM, page states and the exclusive
// section.
#include "core/engine/engine.h"

#include <cstring>
#include <vector>

#include "core/engine/exclusive.h"
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

  RewriteResult RewriteSite(const SiteSpec& site, SiteEntry entry) override {
    constexpr std::array<uint8_t, kSiteLength> kInterruptBytes = {0xcd, 0x1f, 0x90};  // and a nop
    RamPage page = pages_.Find(site.gpa);
    if (!page.host) return RewriteResult::kBytesChanged;
    std::byte* bytes = page.host + (site.gpa & x86::kPageMask);
    bool original = std::memcmp(bytes, site.original.data(), kSiteLength) == 0;
    if (!original && std::memcmp(bytes, kInterruptBytes.data(), kSiteLength) != 0)
      return RewriteResult::kBytesChanged;
    const auto& wanted = entry == SiteEntry::kTrap ? site.original : kInterruptBytes;
    std::memcpy(bytes, wanted.data(), kSiteLength);
    // Linked or not, the instruction is bound when it is decoded (hypercall_entry.cc).
    pages_.Invalidate(site.gpa, kSiteLength);
    return RewriteResult::kDone;
  }

  // Calls are served by the host in any case.
  void SettleSite(const SiteSpec&, bool) override {}
  void TraceCalls(bool) override {}

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
