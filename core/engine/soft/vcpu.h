// SPDX-License-Identifier: Apache-2.0
// The engine seam's vCPU over the software CPU.
#pragma once

#include <optional>

#include "core/engine/engine.h"
#include "core/engine/soft/cpu.h"
#include "core/engine/soft/dispatcher.h"

namespace trapline::engine::soft {

class SoftVcpu final : public Vcpu {
 public:
  SoftVcpu(uint32_t apic_id, const CpuConfig& config, VcpuHost& host, PhysicalPages& pages,
           Exclusive& exclusive)
      : cpu_(apic_id, config, host, pages, exclusive), dispatcher_(cpu_) {
    SetRegisters(x86::ResetState());
  }

  Exit Run() override;
  void Kick() override { cpu_.attention.fetch_or(kAttentionKick); }
  void RequestAttention() override { cpu_.attention.fetch_or(kAttentionInterrupt); }
  // Asks for a safe point (exclusive.h).
  void RequestSafePoint() { cpu_.attention.fetch_or(kAttentionExclusive); }
  // Forgets all translations; while no vCPU executes.
  void FlushTranslations() { cpu_.FlushTlb(false); }

  x86::Registers GetRegisters() override;
  void SetRegisters(const x86::Registers& registers) override;
  HypercallFrame Frame() override { return cpu_.Frame(cpu_.rip); }
  void SetRip(uint64_t rip) override { cpu_.rip = rip & cpu_.RipMask(); }
  void InjectException(x86::Vector vector, uint32_t error_code) override {
    dispatcher_.Inject({vector, error_code, 0, false});
  }
  absl::StatusOr<uint64_t> Translate(uint64_t linear) override;
  uint64_t instructions_retired() const override {
    return cpu_.retired.load(std::memory_order_relaxed);
  }

 private:
  Cpu cpu_;
  Dispatcher dispatcher_;
};

}  // namespace trapline::engine::soft
