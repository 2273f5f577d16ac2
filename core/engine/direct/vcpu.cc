// SPDX-License-Identifier: Apache-2.0
// One vCPU: a process that runs guest code, and this thread, which serves it.
//
// Exactly one of the two is at work at a time (channel.h). Guest registers lie in frame_ while it
// is this thread's turn. A kick is noted first and then sent as a signal if the process may be
// running; whoever is about to pass the turn says so first and then looks whether a kick was noted,
// so that one of the two sees the other. A process that does not hand over for seconds after a kick
// has spoilt itself, and is killed.
#include "core/engine/direct/vcpu.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked.h"
#include "core/base/cycles.h"
#include "core/engine/direct/memory_map.h"
#include "core/guest/abi.h"
#include "core/x86/flags.h"

namespace trapline::engine::direct {
namespace {

constexpr int kPatience = 5;  // ticks
// The selectors of a Linux process in 64-bit mode.
constexpr uint16_t kUserCode = 0x33, kUserData = 0x2b;
constexpr uint64_t kArithmeticFlags = 0x8d5, kReserved = 2;
// What ring 3 can set of the rest: TF, DF, NT, AC, ID.
constexpr uint64_t kUserFlags = kArithmeticFlags | 0x244500;

// Nanoseconds a tick, times 2^64; 0 where that does not fit.
uint64_t ClockMultiplier(uint64_t frequency) {
  constexpr uint64_t kBillion = 1'000'000'000;
  if (frequency <= kBillion) return 0;
  return static_cast<uint64_t>((static_cast<base::Uint128>(kBillion) << 64) / frequency);
}

const char* StepName(SetupStep step) {
  switch (step) {
    case SetupStep::kMap:
      return "mapping guest memory";
    case SetupStep::kUnmap:
      return "unmapping everything else";
    case SetupStep::kSignals:
      return "installing signal handlers";
    case SetupStep::kLimits:
      return "giving up privileges";
    case SetupStep::kFilter:
      return "installing the system-call filter";
    case SetupStep::kOrphan:
      return "looking for its VMM";
  }
  return "a step that it does not name";
}

Exit Failure(std::string why) {
  Exit exit{.reason = ExitReason::kFailure};
  exit.failure = std::move(why);
  return exit;
}

}  // namespace

DirectVcpu::DirectVcpu(uint32_t apic_id, VcpuHost& host, DirectShared& shared,
                       std::unique_ptr<Channel> channel)
    : apic_id_(apic_id),
      host_(host),
      shared_(shared),
      channel_(std::move(channel)),
      clock_multiplier_(ClockMultiplier(shared.config.tsc_frequency)) {
  SetRegisters(x86::ResetState());
}

DirectVcpu::~DirectVcpu() { Release(); }

// ---- The process ----

void DirectVcpu::Release() {
  std::unique_ptr<GuestProcess> gone;
  {
    absl::MutexLock lock(&process_mutex_);
    gone = std::move(process_);
  }
  if (gone) shared_.watch.Remove(gone->pidfd());
  fresh_ = true;
}

void DirectVcpu::Freeze() {
  absl::MutexLock lock(&process_mutex_);
  if (process_) process_->Freeze();
}
void DirectVcpu::Thaw() {
  absl::MutexLock lock(&process_mutex_);
  if (process_) process_->Thaw();
}

Setup DirectVcpu::MakeSetup() const {
  Setup setup{};
  setup.text_start = ~uint64_t{0};
  for (const ImageSegment& segment : shared_.config.segments) {
    if (!segment.executable) continue;
    setup.text_start = std::min(setup.text_start, segment.gpa);
    setup.text_end = std::max(setup.text_end, segment.gpa + segment.size);
  }
  setup.parent = getpid();
  return setup;
}

std::array<Mapping, 3> DirectVcpu::StatsMappings() const {
  constexpr uint32_t kWritable = PROT_READ | PROT_WRITE;
  const DirectConfig& c = shared_.config;
  return {{{TRAPLINE_COUNTERS, c.counters_size, c.counters_offset + apic_id_ * c.counters_stride,
            kStatsFd, kWritable},
           {TRAPLINE_CALL_LOG, sizeof(CallLog), c.logs_offset + apic_id_ * sizeof(CallLog),
            kStatsFd, kWritable},
           {TRAPLINE_TRACE_RING, sizeof(TraceRing), c.rings_offset + apic_id_ * sizeof(TraceRing),
            kStatsFd, kWritable}}};
}

absl::Status DirectVcpu::StartProcess() {
  Release();
  const DirectConfig& config = shared_.config;
  std::vector<Mapping> mappings = MapRam(config.ram, config.segments);
  for (const Mapping& mapping : shared_.code.Mappings()) mappings.push_back(mapping);
  for (const Mapping& mapping : StatsMappings()) mappings.push_back(mapping);
  auto status = channel_->Prepare(MakeSetup(), mappings, GapsBetween(mappings));
  if (!status.ok()) return status;
  ControlPage& c = channel_->control();
  c.vcpu = apic_id_;
  c.clock_multiplier = clock_multiplier_;
  for (const RamRegion& region : config.ram)
    (region.gpa == 0 ? c.ram_low_end : c.ram_high_end) = region.gpa + region.size;
  c.trap_cycles = config.trap_cycles;
  c.interrupt_cycles = config.interrupt_cycles;
  auto started = shared_.start(*channel_, {channel_->fd(), config.ram_fd, shared_.code.stubs_fd(),
                                           shared_.code.table_fd(), config.stats_fd});
  if (!started.ok()) return started.status();
  int pidfd = (*started)->pidfd();
  {
    absl::MutexLock lock(&process_mutex_);
    process_ = *std::move(started);
  }
  status = shared_.watch.Add(pidfd, [this] {
    channel_->End();
    host_.OnLost();
  });
  if (!status.ok()) return status;
  if (!channel_->AwaitTurn([this] { return Tick(); }) && c.request != Request::kFailed)
    return absl::UnavailableError(Ended().failure);
  if (c.request != Request::kReady)
    return absl::UnavailableError(
        absl::StrCat("the guest process failed at ", StepName(c.step), ": ", strerror(c.error)));
  fresh_ = false;
  bases_changed_ = true;
  TellTracing();
  return absl::OkStatus();
}

// Again where it changed in between, since a process may have been started by the old word.
void DirectVcpu::TellTracing() {
  std::atomic_ref tracing(channel_->control().tracing), record(channel_->control().record);
  bool on;
  do {
    on = shared_.tracing;
    tracing.store(on ? 1 : 0);
    if (on) record.store(1);
  } while (on != shared_.tracing);
}

void DirectVcpu::Kick() {
  kick_ = true;
  if (!running_) return;
  absl::MutexLock lock(&process_mutex_);
  if (process_) process_->Kick();
}

// A second has passed.
bool DirectVcpu::Tick() {
  if (!kick_) return true;
  absl::MutexLock lock(&process_mutex_);
  if (process_) process_->Kick();
  return ++unanswered_ < kPatience;
}

Exit DirectVcpu::Ended() {
  bool by_itself = channel_->ended();
  std::string how = "is gone";
  {
    absl::MutexLock lock(&process_mutex_);
    if (process_) {
      process_->Kill();
      how = process_->Reap();
    }
  }
  Release();
  if (by_itself) return Failure(absl::StrCat("the guest process ", how));
  return Failure("the guest process did not hand over when it was asked to, and was killed");
}

// ---- Running ----

Exit DirectVcpu::Run() {
  if (injected_) return *std::exchange(injected_, std::nullopt);
  if (fresh_) {
    if (auto status = StartProcess(); !status.ok()) return Failure(std::string(status.message()));
  }
  for (;;) {
    if (kick_.exchange(false)) return {.reason = ExitReason::kKick};
    if (channel_->ended() || !Enter()) return Ended();
    if (auto exit = Handle()) return *std::move(exit);
  }
}

bool DirectVcpu::Enter() {
  ControlPage& c = channel_->control();
  memcpy(&c.frame, &frame_, sizeof frame_);
  c.clock_offset = host_.TscOffset();
  if (std::exchange(bases_changed_, false)) {
    c.fs_base = registers_.segment[x86::kFs].base;
    c.gs_base = registers_.segment[x86::kGs].base;
    c.set_bases = 1;
  }
  c.request = Request::kKicked;  // should nothing come of it
  unanswered_ = 0;
  shared_.held.Begin();
  running_ = true;
  bool there = true;
  if (!kick_) {
    channel_->PassTurn();
    there = channel_->AwaitTurn([this] { return Tick(); });
  }
  running_ = false;
  shared_.held.End();
  Receive();
  return there;
}

// A process that has spoilt itself may go on writing here while this thread works on what it said.
void DirectVcpu::Receive() {
  ControlPage& c = channel_->control();
  auto once = [](auto& word) { return std::atomic_ref(word).load(std::memory_order_relaxed); };
  memcpy(&frame_, &c.frame, sizeof frame_);
  registers_.segment[x86::kFs].base = once(c.fs_base);
  registers_.segment[x86::kGs].base = once(c.gs_base);
  message_ = {once(c.request), once(c.raised), once(c.vector), once(c.error_code), once(c.address)};
}

std::optional<Exit> DirectVcpu::Handle() {
  switch (message_.request) {
    case Request::kKicked:
      kick_ = false;
      return Exit{.reason = ExitReason::kKick};
    case Request::kTrap:
      return Trap();
    case Request::kInterrupt:
      return HandleInterrupt();
    case Request::kLinked:
      return HandleLinked();
    case Request::kFault:
      return HandleFault();
    default:
      return Failure("the guest spoilt its process: it handed over for no reason");
  }
}

// The guest process says when a call came in; nonsense is not passed on.
uint64_t DirectVcpu::Raised() {
  uint64_t raised = message_.raised, now = base::HostCycles();
  return now - raised < shared_.config.tsc_frequency ? raised : now;
}

HypercallFrame DirectVcpu::FrameAt(uint64_t rip, uint8_t length) {
  return {.gpr = std::span<uint64_t, x86::kGprCount>(frame_.gpr),
          .rip = rip,
          .gva = rip,
          .cpl = 0,
          .long_mode = true,
          .length = length,
          .raised = Raised()};
}

std::optional<Exit> DirectVcpu::After(HypercallOutcome outcome, const HypercallFrame& frame) {
  SetRip(frame.rip + frame.length);
  switch (outcome) {
    case HypercallOutcome::kHalt:
      return Exit{.reason = ExitReason::kHalt};
    case HypercallOutcome::kExit:
      return Exit{.reason = ExitReason::kKick};
    case HypercallOutcome::kInvalidOpcode:
      frame_.rip = frame.rip;
      return Exception(x86::Vector::kInvalidOpcode, 0, 0);
    default:
      return std::nullopt;
  }
}

std::optional<Exit> DirectVcpu::HandleInterrupt() {
  constexpr uint8_t kLength = 2;
  HypercallFrame frame = FrameAt(frame_.rip, kLength);
  HypercallOutcome outcome = host_.OnHypercallInterrupt(frame, frame_.rip);
  if (outcome != HypercallOutcome::kNotOurs) return After(outcome, frame);
  // A site that has moved on since the instruction was executed.
  if (shared_.code.OriginalAt(frame_.rip)) return Trap();
  return Exception(x86::Vector::kGeneralProtection, TRAPLINE_HYPERCALL_VECTOR << 3 | 2, 0);
}

std::optional<Exit> DirectVcpu::HandleLinked() {
  std::optional<uint64_t> gpa = shared_.code.SiteBefore(frame_.rip);
  if (!gpa) return Failure("the guest entered a linked site that is none");
  uint64_t behind = frame_.rip;
  frame_.rip = *gpa;
  void* site = host_.ResolveLinkedSite(*gpa);
  if (!site) return Trap();
  HypercallFrame frame = FrameAt(*gpa, 0);
  HypercallOutcome outcome = host_.OnLinkedHypercall(site, frame);
  frame.length = static_cast<uint8_t>(behind - *gpa);
  return After(outcome, frame);
}

Exit DirectVcpu::Trap() {
  constexpr std::byte kBreakpoint{0xcc};
  auto original = shared_.code.OriginalAt(frame_.rip);
  std::span<const std::byte> bytes = Visible(frame_.rip, kSiteLength);
  if (original) bytes = std::as_bytes(std::span(*original));
  if (!original && !bytes.empty() && bytes[0] == kBreakpoint) {
    ++frame_.rip;
    return Exception(x86::Vector::kBreakpoint, 0, 0);
  }
  Exit exit{.reason = ExitReason::kTrap};
  exit.trap.raised = Raised();
  exit.trap.gva = frame_.rip;
  exit.trap.long_mode = true;
  exit.trap.length = static_cast<uint8_t>(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    exit.trap.bytes[i] = bytes[i];
    exit.trap.gpa[i] = frame_.rip + i;
  }
  return exit;
}

std::optional<Exit> DirectVcpu::HandleFault() {
  constexpr uint64_t kLongest = 15;
  auto vector = static_cast<x86::Vector>(message_.vector & 31);
  auto error = static_cast<uint32_t>(message_.error_code);
  if (vector == x86::Vector::kPageFault) {
    registers_.cr2 = message_.address;
    // To itself the guest is a kernel.
    return Exception(vector, error & ~x86::page_fault::kUser, registers_.cr2);
  }
  if (vector != x86::Vector::kGeneralProtection || error != 0) return Exception(vector, error, 0);
  std::array<std::byte, kLongest> copy;
  std::span<const std::byte> seen = Visible(frame_.rip, kLongest);
  std::copy(seen.begin(), seen.end(), copy.begin());
  std::span<const std::byte> code = std::span(copy).first(seen.size());
  if (shared_.code.OriginalAt(frame_.rip)) return Trap();  // `vmcall`, where that raises #GP
  VirtualCpu cpu{host_, apic_id_, shared_.config.vcpu_count, frame_, registers_};
  Emulation emulation = EmulatePrivileged(code, cpu);
  bases_changed_ = cpu.bases_changed;
  if (emulation == Emulation::kHalt) return Exit{.reason = ExitReason::kHalt};
  if (emulation == Emulation::kDone) return std::nullopt;
  return Exception(vector, error, 0);
}

Exit DirectVcpu::Exception(x86::Vector vector, uint32_t error_code, uint64_t address) {
  Exit exit{.reason = ExitReason::kException};
  exit.exception = {vector, x86::HasErrorCode(vector) ? error_code : 0, address};
  return exit;
}

void DirectVcpu::InjectException(x86::Vector vector, uint32_t error_code) {
  injected_ = Exception(vector, error_code, 0);
}

// ---- Registers and memory ----

x86::Registers DirectVcpu::GetRegisters() {
  x86::Registers registers = registers_;
  std::copy(std::begin(frame_.gpr), std::end(frame_.gpr), registers.gpr.begin());
  registers.rip = frame_.rip;
  // IF is virtual: the real one is always set.
  uint64_t virtual_if = registers_.rflags & x86::rflags::kIf;
  registers.rflags = (frame_.rflags & ~x86::rflags::kIf) | virtual_if;
  registers.cr8 = host_.ReadTaskPriority();
  registers.segment[x86::kCs].selector = kUserCode;
  registers.segment[x86::kSs].selector = kUserData;
  return registers;
}

void DirectVcpu::SetRegisters(const x86::Registers& registers) {
  Release();
  registers_ = registers;
  std::copy(registers.gpr.begin(), registers.gpr.end(), std::begin(frame_.gpr));
  frame_.rip = registers.rip;
  frame_.rflags = (registers.rflags & kArithmeticFlags) | kReserved;
  injected_.reset();
}

void DirectVcpu::SetRflags(uint64_t rflags) {
  registers_.rflags = rflags;
  frame_.rflags = (rflags & kUserFlags) | kReserved;
}

std::span<const std::byte> DirectVcpu::Visible(uint64_t linear, uint64_t size) const {
  bool hole = linear + size > TRAPLINE_CONTROL && linear < TRAPLINE_NEAR_END;
  if (linear < TRAPLINE_RAM_START || linear + size < linear || hole) return {};
  for (const RamRegion& region : shared_.config.ram) {
    if (linear < region.gpa || linear - region.gpa >= region.size) continue;
    uint64_t offset = linear - region.gpa;
    return {region.host + offset, std::min(size, region.size - offset)};
  }
  return {};
}

absl::StatusOr<uint64_t> DirectVcpu::Translate(uint64_t linear) {
  if (Visible(linear, 1).empty())
    return absl::NotFoundError(absl::StrCat("0x", absl::Hex(linear), " is not mapped"));
  return linear;
}

}  // namespace trapline::engine::direct
