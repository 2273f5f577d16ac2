// SPDX-License-Identifier: Apache-2.0
// Registers in and out, and the run call.
#include "core/engine/soft/vcpu.h"

#include "absl/strings/str_cat.h"

namespace trapline::engine::soft {

Exit SoftVcpu::Run() {
  cpu_.exclusive.Begin();
  Exit exit = dispatcher_.Run();
  cpu_.exclusive.End();
  return exit;
}

x86::Registers SoftVcpu::GetRegisters() {
  x86::Registers out;
  std::copy(cpu_.r, cpu_.r + x86::kGprCount, out.gpr.begin());
  out.rip = cpu_.rip;
  out.rflags = cpu_.Rflags();
  std::copy(std::begin(cpu_.segment), std::end(cpu_.segment), out.segment.begin());
  out.ldtr = cpu_.ldtr;
  out.tr = cpu_.tr;
  out.gdtr = cpu_.gdtr;
  out.idtr = cpu_.idtr;
  out.cr0 = cpu_.cr0;
  out.cr2 = cpu_.cr2;
  out.cr3 = cpu_.cr3;
  out.cr4 = cpu_.cr4;
  out.cr8 = cpu_.host.ReadTaskPriority();
  out.efer = cpu_.efer;
  std::copy(std::begin(cpu_.dr), std::end(cpu_.dr), out.dr.begin());
  out.star = cpu_.msr.star;
  out.lstar = cpu_.msr.lstar;
  out.cstar = cpu_.msr.cstar;
  out.fmask = cpu_.msr.fmask;
  out.kernel_gs_base = cpu_.msr.kernel_gs_base;
  out.tsc_aux = cpu_.msr.tsc_aux;
  out.sysenter_cs = cpu_.msr.sysenter_cs;
  out.sysenter_esp = cpu_.msr.sysenter_esp;
  out.sysenter_eip = cpu_.msr.sysenter_eip;
  cpu_.fpu.Save(out.fxsave);
  return out;
}

void SoftVcpu::SetRegisters(const x86::Registers& in) {
  std::copy(in.gpr.begin(), in.gpr.end(), cpu_.r);
  cpu_.rip = in.rip;
  std::copy(in.segment.begin(), in.segment.end(), cpu_.segment);
  cpu_.ldtr = in.ldtr;
  cpu_.tr = in.tr;
  cpu_.gdtr = in.gdtr;
  cpu_.idtr = in.idtr;
  cpu_.cr0 = in.cr0;
  cpu_.cr2 = in.cr2;
  cpu_.cr3 = in.cr3;
  cpu_.cr4 = in.cr4;
  cpu_.efer = in.efer;
  std::copy(in.dr.begin(), in.dr.end(), cpu_.dr);
  cpu_.msr.star = in.star;
  cpu_.msr.lstar = in.lstar;
  cpu_.msr.cstar = in.cstar;
  cpu_.msr.fmask = in.fmask;
  cpu_.msr.kernel_gs_base = in.kernel_gs_base;
  cpu_.msr.tsc_aux = in.tsc_aux;
  cpu_.msr.sysenter_cs = in.sysenter_cs;
  cpu_.msr.sysenter_esp = in.sysenter_esp;
  cpu_.msr.sysenter_eip = in.sysenter_eip;
  cpu_.fpu.Load(in.fxsave);
  cpu_.host.WriteTaskPriority(static_cast<uint8_t>(in.cr8));
  cpu_.cpl = cpu_.ProtectedMode() ? static_cast<uint8_t>(in.cpl()) : 0;
  cpu_.interrupt_shadow = false;
  cpu_.nmi_blocked = cpu_.nmi_latched = false;
  cpu_.halted = false;
  cpu_.SetRflags(in.rflags);
  // Whoever is alone may be flushing it as well (SetShadowed): this counts as executing.
  cpu_.exclusive.Begin();
  cpu_.FlushTlb(false);
  cpu_.UpdateMode();
  cpu_.exclusive.End();
}

absl::StatusOr<uint64_t> SoftVcpu::Translate(uint64_t linear) {
  WalkResult walk =
      WalkPages(cpu_.pages, cpu_.Paging(), {linear, Access::kRead, false, false, true});
  if (!walk.ok) {
    return absl::NotFoundError(
        absl::StrCat("linear address 0x", absl::Hex(linear), " is not mapped"));
  }
  return walk.translation.gpa + (linear & x86::kPageMask);
}

}  // namespace trapline::engine::soft
