// SPDX-License-Identifier: Apache-2.0
// The engine seam: vCPUs that share guest code and a watch over their processes.
//
// Nothing here stops a vCPU to change code: RewriteSite does that safely under running ones
// (code_writer.h), and the site table has one atomic word for each site. RunExclusive therefore
// only keeps its callers apart; RunHeld has the vCPUs hand over first.
#include <utility>

#include "absl/synchronization/mutex.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/guest_code.h"
#include "core/engine/direct/guest_process.h"
#include "core/engine/direct/memory_map.h"
#include "core/engine/direct/program_image.h"
#include "core/engine/direct/vcpu.h"

namespace trapline::engine::direct {
namespace {

// Which text the image has, through this process's mapping.
std::vector<TextSpan> TextOf(const DirectConfig& config) {
  std::vector<TextSpan> text;
  for (const ImageSegment& segment : config.segments) {
    for (const RamRegion& region : config.ram) {
      uint64_t offset = segment.gpa - region.gpa;
      if (segment.executable && segment.gpa >= region.gpa && offset < region.size)
        text.push_back({segment.gpa, {region.host + offset, segment.size}});
    }
  }
  return text;
}

std::vector<AddressRange> RamRanges(const DirectConfig& config) {
  std::vector<AddressRange> ranges;
  for (const RamRegion& region : config.ram)
    ranges.push_back({region.gpa, region.gpa + region.size});
  return ranges;
}

class DirectEngine final : public Engine {
 public:
  DirectEngine(const DirectConfig& config, std::unique_ptr<GuestCode> code,
               std::unique_ptr<ProcessWatch> watch)
      : code_(std::move(code)), watch_(std::move(watch)), shared_{config, *code_, *watch_} {}

  absl::StatusOr<std::unique_ptr<Vcpu>> CreateVcpu(uint32_t apic_id, VcpuHost& host) override {
    auto channel = Channel::Create(shared_.config.console);
    if (!channel.ok()) return channel.status();
    auto vcpu = std::make_unique<DirectVcpu>(apic_id, host, shared_, *std::move(channel));
    vcpus_.push_back(vcpu.get());
    shared_.held.AddVcpu([raw = vcpu.get()] { raw->Kick(); });
    return vcpu;
  }

  void RunExclusive(absl::FunctionRef<void()> body) override {
    absl::MutexLock lock(&exclusive_);
    body();
  }
  void RunHeld(absl::FunctionRef<void()> body) override {
    shared_.held.Run([&] { RunExclusive(body); });
  }
  // The real CPU sees to that.
  void InvalidateCode(uint64_t, uint64_t) override {}
  RewriteResult RewriteSite(const SiteSpec& site, SiteEntry entry) override {
    return code_->Rewrite(site, entry);
  }
  void SettleSite(const SiteSpec& site, bool settled) override { code_->Settle(site, settled); }
  void TraceCalls(bool on) override {
    shared_.tracing = on;
    for (DirectVcpu* vcpu : vcpus_) vcpu->TellTracing();
  }
  std::vector<Trampoline> TrampolinesOf(uint64_t gpa) override {
    auto stub = code_->StubOf(gpa);
    if (!stub) return {};
    std::vector<Trampoline> path;
    path.push_back({"stub", stub->address, std::move(stub->code), {}});
    if (auto entry = LinkedEntry()) path.push_back(*std::move(entry));
    return path;
  }
  void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes) override {
    code_->OverlayOriginal(gpa, bytes);
  }
  std::vector<uint64_t> OnImageLoaded() override { return code_->Load(); }
  void Release() override {
    for (DirectVcpu* vcpu : vcpus_) vcpu->Release();
  }
  void Freeze() override {
    for (DirectVcpu* vcpu : vcpus_) vcpu->Freeze();
  }
  void Thaw() override {
    for (DirectVcpu* vcpu : vcpus_) vcpu->Thaw();
  }
  // A guest reads its text as it stands, and cannot write there.
  void SetShadowed(uint64_t, bool) override {}

 private:
  const std::unique_ptr<GuestCode> code_;
  const std::unique_ptr<ProcessWatch> watch_;
  DirectShared shared_;
  std::vector<DirectVcpu*> vcpus_;
  absl::Mutex exclusive_;
};

}  // namespace

absl::Status CheckImage(std::span<const ImageSegment> segments) { return CheckSegments(segments); }

absl::StatusOr<std::unique_ptr<Engine>> CreateDirectEngine(const DirectConfig& config) {
  if (auto status = CheckImage(config.segments); !status.ok()) return status;
  auto code = GuestCode::Create(TextOf(config), config.entries, {config.vmcall, config.vmmcall},
                                RamRanges(config));
  if (!code.ok()) return code.status();
  auto watch = ProcessWatch::Create();
  if (!watch.ok()) return watch.status();
  return std::make_unique<DirectEngine>(config, *std::move(code), *std::move(watch));
}

}  // namespace trapline::engine::direct
