// SPDX-License-Identifier: Apache-2.0
// Conversions, field by field.
#include "daemon/common/convert.h"

#include <time.h>

#include "absl/strings/str_cat.h"
#include "core/guest/hypercalls.h"

namespace trapline::daemon {
namespace {

constexpr uint64_t kBillion = 1'000'000'000;

void Set(const x86::Segment& from, v1::Registers::Segment* to) {
  to->set_selector(from.selector);
  to->set_base(from.base);
  to->set_limit(from.limit);
  to->set_attributes(from.attributes);
}
void Set(const x86::DescriptorTable& from, v1::Registers::Table* to) {
  to->set_base(from.base);
  to->set_limit(from.limit);
}

}  // namespace

std::string Hex(uint64_t value) { return absl::StrCat("0x", absl::Hex(value)); }

std::string SiteName(const std::string& vm, uint64_t gpa) {
  return absl::StrCat("vms/", vm, "/sites/", Hex(gpa));
}

google::protobuf::Duration DurationOf(uint64_t nanoseconds) {
  google::protobuf::Duration duration;
  duration.set_seconds(static_cast<int64_t>(nanoseconds / kBillion));
  duration.set_nanos(static_cast<int32_t>(nanoseconds % kBillion));
  return duration;
}
google::protobuf::Timestamp TimestampOf(uint64_t nanoseconds) {
  google::protobuf::Timestamp time;
  time.set_seconds(static_cast<int64_t>(nanoseconds / kBillion));
  time.set_nanos(static_cast<int32_t>(nanoseconds % kBillion));
  return time;
}
google::protobuf::Timestamp Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return TimestampOf(static_cast<uint64_t>(now.tv_sec) * kBillion +
                     static_cast<uint64_t>(now.tv_nsec));
}

absl::Time ToAbsl(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

google::protobuf::Timestamp FromAbsl(absl::Time time) {
  return TimestampOf(static_cast<uint64_t>(absl::ToUnixNanos(time)));
}

v1::Technique ToProto(hypercall::Technique technique) {
  return static_cast<v1::Technique>(technique);  // the numbers are the same
}

v1::Technique ToProto(hypercall::Path path) {
  switch (path) {
    case hypercall::Path::kTrap:
      return v1::TECHNIQUE_EMULATE;
    case hypercall::Path::kInterrupt:
      return v1::TECHNIQUE_INTERRUPT;
    case hypercall::Path::kLinked:
      return v1::TECHNIQUE_LINKED;
  }
  return v1::TECHNIQUE_UNSPECIFIED;
}

v1::Policy ToProto(const hypercall::Policy& policy) {
  v1::Policy out;
  out.set_limit(ToProto(policy.limit));
  out.set_interrupt_after(policy.interrupt_after);
  out.set_linked_after(policy.linked_after);
  return out;
}

std::optional<hypercall::Policy> FromProto(const v1::Policy& policy) {
  hypercall::Policy out;
  if (policy.limit() != v1::TECHNIQUE_UNSPECIFIED) {
    if (policy.limit() < v1::TECHNIQUE_EMULATE || policy.limit() > v1::TECHNIQUE_LINKED)
      return std::nullopt;
    out.limit = static_cast<hypercall::Technique>(policy.limit());
  }
  if (policy.interrupt_after() != 0) out.interrupt_after = policy.interrupt_after();
  if (policy.linked_after() != 0) out.linked_after = policy.linked_after();
  return out;
}

v1::Site ToProto(const std::string& vm, const hypercall::SiteView& site) {
  v1::Site out;
  out.set_name(SiteName(vm, site.gpa));
  out.set_gva(site.gva);
  out.set_gpa(site.gpa);
  out.set_symbol(site.symbol);
  out.set_cpl(site.cpl);
  out.set_original(site.original.data(), site.original.size());
  out.set_current(site.current.data(), site.current.size());
  out.set_technique(site.state == hypercall::SiteState::kDirect ? v1::TECHNIQUE_DIRECT
                                                                : ToProto(site.technique));
  out.set_state(static_cast<v1::Site::State>(site.state));
  out.set_state_reason(std::string(hypercall::ReasonName(site.reason)));
  out.set_traps(site.traps());
  out.set_fast_calls(site.fast_calls());
  for (size_t path = 0; path < hypercall::kPathCount; ++path) {
    if (site.calls[path] == 0) continue;
    auto* stats = out.add_paths();
    stats->set_path(ToProto(static_cast<hypercall::Path>(path)));
    stats->set_calls(site.calls[path]);
    stats->set_cycles(site.cycles[path]);
    for (uint64_t bucket : site.histograms[path]) stats->add_histogram(bucket);
  }
  for (const hypercall::NumberCount& number : site.numbers) {
    auto* count = out.add_numbers();
    count->set_number(number.number);
    count->set_name(guest::HypercallName(number.number));
    count->set_calls(number.calls);
  }
  if (site.last_use_ns != 0) {
    *out.mutable_first_use() = DurationOf(site.first_use_ns);
    *out.mutable_last_use() = DurationOf(site.last_use_ns);
  }
  *out.mutable_last_transition() = DurationOf(site.transition_ns);
  if (site.policy) *out.mutable_policy() = ToProto(*site.policy);
  return out;
}

v1::SiteTotals ToProto(const hypercall::SiteSums& sums) {
  v1::SiteTotals out;
  auto [traps, interrupt, linked] = sums.calls;
  out.set_sites(sums.sites);
  out.set_traps(traps);
  out.set_interrupt_calls(interrupt);
  out.set_linked_calls(linked);
  out.set_fast_calls(interrupt + linked);
  for (uint64_t cycles : sums.cycles) out.set_cycles(out.cycles() + cycles);
  out.set_patches(sums.patches);
  out.set_reverts(sums.reverts);
  return out;
}

v1::SiteTransition ToProto(const std::string& vm, const hypercall::SiteTransition& transition,
                           const hypercall::SiteView& site, uint64_t start_realtime_ns) {
  v1::SiteTransition out;
  out.set_sequence(transition.sequence);
  out.set_site(SiteName(vm, site.gpa));
  *out.mutable_time() = TimestampOf(start_realtime_ns + transition.time_ns);
  *out.mutable_guest_time() = DurationOf(transition.time_ns);
  if (transition.vcpu != hypercall::kNoVcpu) out.set_vcpu(transition.vcpu);
  out.set_from(static_cast<v1::Site::State>(transition.from));
  out.set_to(static_cast<v1::Site::State>(transition.to));
  out.set_reason(std::string(hypercall::ReasonName(transition.reason)));
  *out.mutable_policy() = ToProto(transition.policy);
  out.set_symbol(site.symbol);
  return out;
}

v1::TraceRecord ToProto(const std::string& vm, const hypercall::TraceEvent& event, uint64_t gpa,
                        uint64_t start_realtime_ns) {
  v1::TraceRecord out;
  *out.mutable_time() = TimestampOf(start_realtime_ns + event.time_ns);
  *out.mutable_guest_time() = DurationOf(event.time_ns);
  out.set_vcpu(event.vcpu);
  out.set_site(SiteName(vm, gpa));
  out.set_gva(event.gva);
  out.set_number(event.number);
  out.set_number_name(guest::HypercallName(event.number));
  for (unsigned i = 0; i < guest::HypercallArguments(event.number); ++i)
    out.add_arguments(event.args[i]);
  out.set_result(static_cast<int64_t>(event.result));
  out.set_path(ToProto(event.path));
  out.set_cycles(event.cycles);
  out.set_cpl(event.cpl);
  return out;
}

v1::Registers ToProto(const x86::Registers& r) {
  v1::Registers out;
  out.set_rax(r.gpr[x86::kRax]);
  out.set_rbx(r.gpr[x86::kRbx]);
  out.set_rcx(r.gpr[x86::kRcx]);
  out.set_rdx(r.gpr[x86::kRdx]);
  out.set_rsi(r.gpr[x86::kRsi]);
  out.set_rdi(r.gpr[x86::kRdi]);
  out.set_rbp(r.gpr[x86::kRbp]);
  out.set_rsp(r.gpr[x86::kRsp]);
  out.set_r8(r.gpr[x86::kR8]);
  out.set_r9(r.gpr[x86::kR9]);
  out.set_r10(r.gpr[x86::kR10]);
  out.set_r11(r.gpr[x86::kR11]);
  out.set_r12(r.gpr[x86::kR12]);
  out.set_r13(r.gpr[x86::kR13]);
  out.set_r14(r.gpr[x86::kR14]);
  out.set_r15(r.gpr[x86::kR15]);
  out.set_rip(r.rip);
  out.set_rflags(r.rflags);
  out.set_cr0(r.cr0);
  out.set_cr2(r.cr2);
  out.set_cr3(r.cr3);
  out.set_cr4(r.cr4);
  out.set_cr8(r.cr8);
  out.set_efer(r.efer);
  Set(r.segment[x86::kCs], out.mutable_cs());
  Set(r.segment[x86::kSs], out.mutable_ss());
  Set(r.segment[x86::kDs], out.mutable_ds());
  Set(r.segment[x86::kEs], out.mutable_es());
  Set(r.segment[x86::kFs], out.mutable_fs());
  Set(r.segment[x86::kGs], out.mutable_gs());
  Set(r.ldtr, out.mutable_ldtr());
  Set(r.tr, out.mutable_tr());
  Set(r.gdtr, out.mutable_gdtr());
  Set(r.idtr, out.mutable_idtr());
  return out;
}

v1::TrapBehaviour ToProto(const engine::direct::TrapResult& trap) {
  v1::TrapBehaviour out;
  out.set_instruction(trap.instruction);
  out.set_signal(trap.signal);
  out.set_cycles(trap.cycles);
  out.set_kind(static_cast<v1::TrapBehaviour::Kind>(trap.kind));  // the numbers are the same
  return out;
}

worker::v1::HostProbe ToProto(const engine::direct::HostProbe& probe) {
  worker::v1::HostProbe out;
  for (const auto& trap : probe.traps) *out.add_traps() = ToProto(trap);
  out.set_cpuid_faults(probe.cpuid_faults);
  out.set_missing(probe.missing);
  return out;
}

engine::direct::HostProbe FromProto(const worker::v1::HostProbe& probe) {
  using engine::direct::TrapKind;
  engine::direct::HostProbe out;
  for (const v1::TrapBehaviour& trap : probe.traps()) {
    TrapKind kind = v1::TrapBehaviour::Kind_IsValid(trap.kind())
                        ? static_cast<TrapKind>(trap.kind())
                        : TrapKind::kUnknown;
    if (trap.instruction() == "vmcall") out.vmcall = kind;
    if (trap.instruction() == "vmmcall") out.vmmcall = kind;
    out.traps.push_back({trap.instruction(), kind, trap.signal(), trap.cycles()});
  }
  out.cpuid_faults = probe.cpuid_faults();
  out.missing = probe.missing();
  return out;
}

}  // namespace trapline::daemon
