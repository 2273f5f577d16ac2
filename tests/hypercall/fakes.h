// SPDX-License-Identifier: Apache-2.0
// The surroundings of core/hypercall, small enough to be looked into: a VM that records what was
// asked of it, and an engine whose vCPUs never execute.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/engine.h"
#include "core/hypercall/hypercall_core.h"
#include "core/hypercall/services.h"

namespace trapline::hypercall {

struct SentInterrupt {
  uint32_t apic_id;
  bool nmi;
  uint8_t vector;
  bool operator==(const SentInterrupt&) const = default;
};

// A VM of four vCPUs and one page of memory at zero.
class FakeHost final : public ServiceHost, public PhysicalMemory {
 public:
  static constexpr uint32_t kVcpus = 4;

  bool KickVcpu(uint32_t apic_id) override {
    kicked.push_back(apic_id);
    return apic_id < kVcpus;
  }
  bool SendInterrupt(uint32_t apic_id, bool nmi, uint8_t vector) override {
    if (apic_id >= kVcpus) return false;
    sent.push_back({apic_id, nmi, vector});
    return true;
  }
  bool ReadGuest(uint64_t gpa, std::span<std::byte> bytes) override {
    const std::byte* from = Find(gpa, bytes.size());
    if (from) std::memcpy(bytes.data(), from, bytes.size());
    return from != nullptr;
  }
  bool WriteGuest(uint64_t gpa, std::span<const std::byte> bytes) override {
    std::byte* to = Find(gpa, bytes.size());
    if (to) std::memcpy(to, bytes.data(), bytes.size());
    return to != nullptr;
  }
  std::byte* Find(uint64_t gpa, uint64_t size) override {
    bool inside = gpa <= memory.size() && size <= memory.size() - gpa;
    return inside ? memory.data() + gpa : nullptr;
  }
  uint64_t TicksAt(uint64_t host_cycles) override { return host_cycles; }
  uint64_t Nanoseconds() override { return now; }
  void ConsoleOutput(std::string_view bytes) override { console += bytes; }
  void Shutdown(uint32_t status) override { ended = status; }
  bool RegisterUpcall(uint32_t caller, uint64_t entry, uint64_t info) override {
    if (info != 0 && !Find(info, 64)) return false;
    upcalls.push_back({caller, entry, info});
    return true;
  }
  void SetTimer(uint32_t caller, uint64_t deadline) override { timers[caller] = deadline; }
  StartOutcome StartVcpu(uint32_t caller, const VcpuStart& start) override {
    if (start.vcpu >= kVcpus) return StartOutcome::kNoSuchVcpu;
    if (start.vcpu == caller) return StartOutcome::kRunning;
    started.push_back(start);
    return StartOutcome::kStarted;
  }
  bool RaiseEvent(uint64_t vcpu, unsigned event) override {
    if (vcpu >= kVcpus) return false;
    raised.push_back({vcpu, event});
    return true;
  }
  std::optional<uint64_t> ReadConsole(uint64_t gpa, uint64_t length) override {
    std::byte* to = Find(gpa, length);
    if (!to) return std::nullopt;
    uint64_t count = std::min<uint64_t>(length, typed.size());
    std::memcpy(to, typed.data(), count);
    typed.erase(0, count);
    return count;
  }

  template <typename T>
  T At(uint64_t gpa) const {
    T value;
    std::memcpy(&value, memory.data() + gpa, sizeof value);
    return value;
  }

  std::vector<std::byte> memory = std::vector<std::byte>(1 << 20);
  std::vector<uint32_t> kicked;
  std::vector<SentInterrupt> sent;
  std::string console;
  std::optional<uint32_t> ended;
  std::vector<std::array<uint64_t, 3>> upcalls;  // vCPU, entry, info
  std::map<uint32_t, uint64_t> timers;           // deadlines by vCPU
  std::vector<VcpuStart> started;
  std::vector<std::pair<uint64_t, unsigned>> raised;  // vCPU, event
  std::string typed;
  uint64_t now = 0;
};

class FakeVcpu final : public engine::Vcpu {
 public:
  engine::Exit Run() override { return {}; }
  void Kick() override {}
  void RequestAttention() override {}
  x86::Registers GetRegisters() override { return {}; }
  void SetRegisters(const x86::Registers&) override {}
  engine::HypercallFrame Frame() override {
    return {.gpr = gpr, .rip = rip, .gva = rip, .cpl = 0, .long_mode = true};
  }
  void SetRip(uint64_t value) override { rip = value; }
  void InjectException(x86::Vector, uint32_t) override {}
  absl::StatusOr<uint64_t> Translate(uint64_t linear) override { return linear; }
  uint64_t instructions_retired() const override { return 0; }

  std::array<uint64_t, x86::kGprCount> gpr{};
  uint64_t rip = 0;
};

class FakeEngine final : public engine::Engine {
 public:
  // Rewrites sites in that host's memory.
  explicit FakeEngine(FakeHost& host) : host_(host) {}
  absl::StatusOr<std::unique_ptr<engine::Vcpu>> CreateVcpu(uint32_t, engine::VcpuHost&) override {
    return absl::UnimplementedError("not here");
  }
  void RunExclusive(absl::FunctionRef<void()> body) override {
    if (auto first = std::exchange(before_exclusive, nullptr)) first();
    ++exclusive;
    body();
  }
  void InvalidateCode(uint64_t gpa, uint64_t) override { invalidated.push_back(gpa); }
  engine::RewriteResult RewriteSite(const engine::SiteSpec& site,
                                    engine::SiteEntry entry) override {
    constexpr std::array<uint8_t, engine::kSiteLength> kInterrupt = {0xcd, 0x1f, 0x90};
    if (entry == engine::SiteEntry::kLinked && refuse_link != engine::RewriteResult::kDone)
      return refuse_link;
    std::byte* at = host_.Find(site.gpa, engine::kSiteLength);
    if (std::memcmp(at, site.original.data(), engine::kSiteLength) != 0 &&
        std::memcmp(at, kInterrupt.data(), engine::kSiteLength) != 0)
      return engine::RewriteResult::kBytesChanged;
    const auto& bytes = entry == engine::SiteEntry::kTrap ? site.original : kInterrupt;
    std::memcpy(at, bytes.data(), engine::kSiteLength);
    invalidated.push_back(site.gpa);
    return engine::RewriteResult::kDone;
  }
  void SettleSite(const engine::SiteSpec& site, bool on) override { settled[site.gpa] = on; }
  void TraceCalls(bool on) override { tracing = on; }
  void SetShadowed(uint64_t gpa, bool on) override {
    if (on) {
      shadowed.insert(gpa & ~uint64_t{4095});
    } else {
      shadowed.erase(gpa & ~uint64_t{4095});
    }
  }

  int exclusive = 0;                       // bodies run alone
  std::function<void()> before_exclusive;  // called once: somebody else was faster
  engine::RewriteResult refuse_link = engine::RewriteResult::kDone;
  std::map<uint64_t, bool> settled;
  bool tracing = false;
  std::vector<uint64_t> invalidated;
  std::set<uint64_t> shadowed;

 private:
  FakeHost& host_;
};

}  // namespace trapline::hypercall
