// SPDX-License-Identifier: Apache-2.0
// The engine seam's vCPU over a guest process.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/direct/channel.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/guest_code.h"
#include "core/engine/direct/guest_process.h"
#include "core/engine/direct/privileged.h"
#include "core/engine/exclusive.h"

namespace trapline::engine::direct {

// What the vCPUs of an engine share; it outlives them.
struct DirectShared {
  const DirectConfig config;
  GuestCode& code;
  ProcessWatch& watch;
  // Starts a guest process for that channel; tests have guests that are none.
  std::function<absl::StatusOr<std::unique_ptr<GuestProcess>>(Channel&,
                                                              const GuestProcess::Descriptors&)>
      start = [](Channel&, const GuestProcess::Descriptors& d) { return GuestProcess::Start(d); };
  std::atomic<bool> tracing{false};
  Exclusive held{};  // a vCPU executes while its process has the turn
};

class DirectVcpu final : public Vcpu {
 public:
  DirectVcpu(uint32_t apic_id, VcpuHost& host, DirectShared& shared,
             std::unique_ptr<Channel> channel);
  ~DirectVcpu() override;

  Exit Run() override;
  void Kick() override;
  // A guest without privileges has no interrupts but upcalls, which core/vm delivers between runs.
  void RequestAttention() override {}

  x86::Registers GetRegisters() override;
  // Also the start of a new life: the process ends, and the next Run starts a new one.
  void SetRegisters(const x86::Registers& registers) override;
  HypercallFrame Frame() override { return FrameAt(frame_.rip, 0); }
  // Behind a site of five bytes is behind its padding: an upcall may come first, and the guest go
  // on from there by itself.
  void SetRip(uint64_t rip) override { frame_.rip = shared_.code.SkipPadding(rip); }
  void SetRflags(uint64_t rflags) override;
  void InjectException(x86::Vector vector, uint32_t error_code) override;
  absl::StatusOr<uint64_t> Translate(uint64_t linear) override;
  // Nobody counts them: the real CPU's counters are not to be had.
  uint64_t instructions_retired() const override { return 0; }

  // Tells the process whether calls are to be recorded (DirectShared::tracing). Any thread.
  void TellTracing();
  // Ends the process, if there is one; not in Run.
  void Release();
  // Holds the process, if there is one, where it is, and lets it go on (Engine::Freeze); not in
  // Run.
  void Freeze();
  void Thaw();

 private:
  absl::Status StartProcess();
  Setup MakeSetup() const;
  // The vCPU's own of what is counted and recorded.
  std::array<Mapping, 3> StatsMappings() const;
  // Lets guest code run until it hands over. False: it does not any more.
  bool Enter();
  // How it came to that.
  Exit Ended();
  std::optional<Exit> Handle();
  std::optional<Exit> HandleInterrupt();
  std::optional<Exit> HandleLinked();
  std::optional<Exit> HandleFault();
  Exit Trap();
  std::optional<Exit> After(HypercallOutcome outcome, const HypercallFrame& frame);
  HypercallFrame FrameAt(uint64_t rip, uint8_t length);
  uint64_t Raised();
  Exit Exception(x86::Vector vector, uint32_t error_code, uint64_t address);
  // Takes what the process says with its turn, once.
  void Receive();
  // Guest memory as the process sees it: what of [linear, linear + size) is there. It may change
  // while it is looked at.
  std::span<const std::byte> Visible(uint64_t linear, uint64_t size) const;
  bool Tick();

  const uint32_t apic_id_;
  VcpuHost& host_;
  DirectShared& shared_;
  const std::unique_ptr<Channel> channel_;
  const uint64_t clock_multiplier_;

  // The guest's registers while it does not run; those of registers_ that frame_ has as well are
  // stale.
  direct::Frame frame_{};
  x86::Registers registers_;
  // Why the process handed over, as it says.
  struct Message {
    Request request;
    uint64_t raised, vector, error_code, address;
  } message_{};
  std::optional<Exit> injected_;
  bool bases_changed_ = false;
  bool fresh_ = true;  // a new process is due

  std::atomic<bool> kick_{false};     // asked for and not answered
  std::atomic<bool> running_{false};  // the process has the turn, or is about to
  int unanswered_ = 0;                // ticks that a kick has waited for

  absl::Mutex process_mutex_;
  std::unique_ptr<GuestProcess> process_ ABSL_GUARDED_BY(process_mutex_);
};

}  // namespace trapline::engine::direct
