// SPDX-License-Identifier: Apache-2.0
// The VM's composition and its moves.
//
// Who may do what when. vCPU threads run the guest inside the gate (run_gate.h). A move of the
// API's is made on its caller's thread; move_busy_ lets one in at a time and answers the others
// ABORTED. What the guest asks for itself (reset, power-off, exit, triple fault) arrives on a
// vCPU's or the timer's thread, which must not wait for the gate it is inside of; so it is queued
// for the supervisor thread. Both make their transitions under transition_mutex_, with the gate
// closed.
#include "core/vm/vm.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/engine.h"
#include "core/guest/abi.h"
#include "core/machine/loader/image.h"
#include "core/machine/memory/guest_memory.h"
#include "core/machine/platform/platform.h"
#include "core/vm/disassembler.h"
#include "core/vm/engine_choice.h"
#include "core/vm/guest_symbols.h"
#include "core/vm/lifecycle.h"
#include "core/vm/linear_memory.h"
#include "core/vm/run_gate.h"
#include "core/vm/site_code.h"
#include "core/vm/vcpu_thread.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"

namespace trapline::vm {
namespace {

constexpr uint64_t kMaxRead = uint64_t{16} << 20;
constexpr uint32_t kMaxInstructions = 1000, kMaxAroundSite = 100;
constexpr uint64_t kMaxSymbolFile = uint64_t{1} << 30;
constexpr uint64_t kLongestInstruction = 15;
constexpr size_t kConsoleQueue = 64 << 10;  // bytes typed and not read

absl::Status FieldError(absl::string_view field, const absl::Status& status) {
  absl::Status error(status.code(), status.message());
  error.SetPayload("trapline/field", absl::Cord(field));
  return error;
}
absl::Status FieldError(absl::string_view field, absl::string_view message) {
  return FieldError(field, absl::InvalidArgumentError(message));
}

absl::StatusOr<base::UniqueFd> OpenFile(const VmConfig& config, const std::string& path) {
  if (config.open_file) return config.open_file(path);
  // Not blocking, since the path may name a pipe.
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", strerror(errno)));
  return fd;
}

// A file of the host's, kept for as long as the VM may boot from it.
class ImageFile {
 public:
  // What is larger than limit is not read at all; whose: what the limit is.
  static absl::StatusOr<ImageFile> Read(const VmConfig& config, const std::string& path,
                                        uint64_t limit,
                                        absl::string_view whose = "the VM's memory") {
    auto opened = OpenFile(config, path);
    if (!opened.ok()) return opened.status();
    const base::UniqueFd fd = *std::move(opened);
    struct stat info;
    if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
    }
    if (info.st_size == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": empty"));
    if (static_cast<uint64_t>(info.st_size) > limit) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", info.st_size, " bytes, more than ", whose, " (", limit, ")"));
    }
    ImageFile file;
    file.bytes_.resize(static_cast<size_t>(info.st_size));
    size_t done = 0;
    while (done < file.bytes_.size()) {
      ssize_t got = pread(fd.get(), file.bytes_.data() + done, file.bytes_.size() - done,
                          static_cast<off_t>(done));
      if (got <= 0)
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": ", got < 0 ? strerror(errno) : "cut short while it was read"));
      done += static_cast<size_t>(got);
    }
    return file;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

absl::Status CheckConfig(const VmConfig& config) {
  if (config.vcpus < 1 || config.vcpus > kMaxVcpus) {
    return FieldError("vcpus", absl::StrCat(config.vcpus, ": must be 1 to ", kMaxVcpus));
  }
  if (config.memory_bytes < kMinMemoryBytes || config.memory_bytes > kMaxMemoryBytes ||
      config.memory_bytes % x86::kPageSize) {
    return FieldError("memory_bytes",
                      absl::StrCat(config.memory_bytes, ": must be a multiple of 4096 between ",
                                   kMinMemoryBytes, " and ", kMaxMemoryBytes));
  }
  return absl::OkStatus();
}

class VmImpl final : public Vm, public hypercall::ServiceHost, public hypercall::PhysicalMemory {
 public:
  VmImpl(const VmConfig& config, Observer observer)
      : config_(config), observer_(std::move(observer)) {}
  ~VmImpl() override;
  absl::Status Build();

  absl::Status Start() override;
  absl::Status Pause() override;
  absl::Status Resume() override;
  absl::Status Reset() override;
  absl::StatusOr<StopOutcome> Stop(StopMode mode, absl::Duration grace) override;

  State state() const override {
    absl::MutexLock lock(&state_mutex_);
    return state_;
  }
  std::string state_reason() const override {
    absl::MutexLock lock(&state_mutex_);
    return reason_;
  }
  const VmConfig& config() const override { return config_; }
  EngineKind engine() const override { return chosen_.kind; }
  std::string engine_reason() const override { return chosen_.reason; }
  int exit_status() const override {
    absl::MutexLock lock(&state_mutex_);
    return exit_status_;
  }
  std::string failure_report() const override {
    absl::MutexLock lock(&state_mutex_);
    return failure_report_;
  }

  absl::Status WriteConsole(std::string_view bytes) override;
  absl::StatusOr<x86::Registers> ReadRegisters(uint32_t vcpu) override;
  absl::StatusOr<std::vector<std::byte>> ReadPhysical(uint64_t gpa, uint64_t size) override;
  absl::StatusOr<std::vector<std::byte>> ReadLinear(uint32_t vcpu, uint64_t gva,
                                                    uint64_t size) override;
  absl::StatusOr<std::vector<Instruction>> Disassemble(uint32_t vcpu, uint64_t gva,
                                                       uint32_t count) override;
  absl::StatusOr<SiteCode> DisassembleSite(uint64_t gpa, uint32_t before, uint32_t after) override;
  std::string Symbolize(uint64_t gva) override;
  void SymbolizeSites() override;
  std::string symbols_state() const override { return symbols_->state(); }
  hypercall::HypercallCore& hypercalls() override { return *hypercalls_; }
  uint64_t instructions_retired() const override;

 private:
  // A request of the guest's, or of its death.
  struct Request {
    EventKind kind;
    std::string reason;
    int exit_status = -1;
    uint64_t boot = 0;  // in which it came; Ask sets it
  };
  class BusyGuard;

  // --- hypercall::ServiceHost, PhysicalMemory ---
  bool KickVcpu(uint32_t apic_id) override;
  bool SendInterrupt(uint32_t apic_id, bool nmi, uint8_t vector) override;
  bool ReadGuest(uint64_t gpa, std::span<std::byte> bytes) override {
    return memory_->Read(gpa, bytes).ok();
  }
  bool WriteGuest(uint64_t gpa, std::span<const std::byte> bytes) override {
    std::byte* to = memory_->FindWritable(gpa, bytes.size());
    if (to) std::copy(bytes.begin(), bytes.end(), to);
    return to != nullptr;
  }
  uint64_t TicksAt(uint64_t host_cycles) override { return clock_.TicksAt(host_cycles); }
  uint64_t Nanoseconds() override { return clock_.Nanoseconds(); }
  void ConsoleOutput(std::string_view bytes) override { observer_.on_console_output(bytes); }
  void Shutdown(uint32_t status) override {
    Ask({EventKind::kGuestExit, absl::StrCat("the guest shut down with ", status),
         static_cast<int>(status << 1 | 1)});
  }
  bool RegisterUpcall(uint32_t caller, uint64_t entry, uint64_t info) override {
    return vcpus_[caller]->upcalls().Register(entry, info);
  }
  void SetTimer(uint32_t caller, uint64_t deadline) override {
    vcpus_[caller]->upcalls().SetTimer(deadline);
  }
  hypercall::StartOutcome StartVcpu(uint32_t caller, const hypercall::VcpuStart& start) override;
  bool RaiseEvent(uint64_t vcpu, unsigned event) override;
  std::optional<uint64_t> ReadConsole(uint64_t gpa, uint64_t length) override;
  std::byte* Find(uint64_t gpa, uint64_t size) override { return memory_->Find(gpa, size); }

  machine::PlatformObserver PlatformCallbacks();
  absl::Status LoadImages();
  absl::Status ReadSuppliedSymbols();
  const engine::direct::HostProbe& Probe();
  absl::StatusOr<std::unique_ptr<engine::Engine>> MakeEngine(const hypercall::StatsFile& stats);
  size_t QueueConsole(std::string_view bytes);
  SitePlace PlaceOf(uint64_t gpa, uint64_t gva, unsigned* code_bits);
  GuestSymbols::Vcpus AllVcpus();
  // On the thread of a vCPU that is not in Run.
  std::string SymbolizeFrom(uint32_t vcpu, uint64_t gva);
  void NudgeAll();
  void CloseGate() {
    gate_.Close([this] { NudgeAll(); });
  }
  void SetState(State state, EventKind kind, std::string reason, int exit_status = -1);
  absl::Status BeginMove(Move move);
  // With the gate closed: from here on the guest runs, or does not.
  void LetRun();
  void HaltForGood(State state, EventKind kind, const std::string& reason, int exit_status);
  absl::Status Reboot();

  void OnDead(const FaultReport& report);
  void Ask(Request request);
  void Supervise();
  void Handle(const Request& request);

  const VmConfig config_;
  const Observer observer_;
  base::VmClock clock_;
  RunGate gate_;
  std::unique_ptr<machine::GuestMemory> memory_;
  ImageFile kernel_, initrd_;
  machine::LoadedImage image_;  // but for its symbols
  std::vector<uint64_t> code_entries_;
  ChosenEngine chosen_{EngineKind::kSoft, ""};
  std::optional<engine::direct::HostProbe> probe_;
  std::unique_ptr<GuestSymbols> symbols_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<machine::Platform> platform_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  std::unique_ptr<hypercall::HypercallCore> hypercalls_;

  std::atomic<bool> move_busy_{false};
  absl::Mutex transition_mutex_;  // before the gate, before state_mutex_
  bool gate_open_ ABSL_GUARDED_BY(transition_mutex_) = false;
  // Counts boots; changes with transition_mutex_ held and the gate closed.
  std::atomic<uint64_t> boot_{0};
  bool fresh_ ABSL_GUARDED_BY(transition_mutex_) = true;  // images are loaded, nothing has run

  mutable absl::Mutex state_mutex_;
  State state_ ABSL_GUARDED_BY(state_mutex_) = State::kCreated;
  std::string reason_ ABSL_GUARDED_BY(state_mutex_);
  int exit_status_ ABSL_GUARDED_BY(state_mutex_) = -1;
  std::string failure_report_ ABSL_GUARDED_BY(state_mutex_);

  absl::Mutex console_mutex_;
  std::deque<char> console_input_ ABSL_GUARDED_BY(console_mutex_);  // of a guest with an upcall

  absl::Mutex requests_mutex_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(requests_mutex_);
  bool ending_ ABSL_GUARDED_BY(requests_mutex_) = false;
  std::thread supervisor_;
};

// Lets one move in at a time.
class VmImpl::BusyGuard {
 public:
  explicit BusyGuard(std::atomic<bool>& busy) : busy_(busy), mine_(!busy.exchange(true)) {}
  ~BusyGuard() {
    if (mine_) busy_ = false;
  }
  absl::Status status() const {
    return mine_ ? absl::OkStatus()
                 : absl::AbortedError(
                       "another move of this VM is under way; try again when it is done");
  }

 private:
  std::atomic<bool>& busy_;
  const bool mine_;
};

// ---- Construction ----

machine::PlatformObserver VmImpl::PlatformCallbacks() {
  machine::PlatformObserver callbacks;
  callbacks.on_attention = [this](uint32_t vcpu) {
    if (vcpu < vcpus_.size()) vcpus_[vcpu]->Attend();
  };
  callbacks.on_init = [this](uint32_t vcpu) {
    if (vcpu == 0) {
      Ask({EventKind::kGuestReset, "INIT of the boot processor"});
    } else {
      vcpus_[vcpu]->Init();
    }
  };
  callbacks.on_startup = [this](uint32_t vcpu, uint8_t vector) { vcpus_[vcpu]->Startup(vector); };
  callbacks.on_reset = [this](std::string_view by) {
    Ask({EventKind::kGuestReset, absl::StrCat("reset by ", std::string(by))});
  };
  callbacks.on_power_off = [this] {
    Ask({EventKind::kGuestPowerOff, "the guest switched itself off"});
  };
  callbacks.on_debug_exit = [this](uint32_t value) {
    Ask({EventKind::kGuestExit, absl::StrCat("the guest wrote ", value, " to the debug-exit port"),
         static_cast<int>(value << 1 | 1)});
  };
  callbacks.on_console_output = observer_.on_console_output;
  return callbacks;
}

absl::Status VmImpl::Build() {
  if (auto status = CheckConfig(config_); !status.ok()) return status;
  auto kernel = ImageFile::Read(config_, config_.kernel_path, config_.memory_bytes);
  if (!kernel.ok()) return FieldError("kernel", kernel.status());
  kernel_ = *std::move(kernel);
  if (!config_.initrd_path.empty()) {
    auto initrd = ImageFile::Read(config_, config_.initrd_path, config_.memory_bytes);
    if (!initrd.ok()) return FieldError("initrd", initrd.status());
    initrd_ = *std::move(initrd);
  }
  auto memory = machine::GuestMemory::Create(config_.memory_bytes);
  if (!memory.ok()) return FieldError("memory_bytes", memory.status());
  memory_ = *std::move(memory);
  symbols_ = std::make_unique<GuestSymbols>(config_.name, *memory_);
  if (auto status = LoadImages(); !status.ok()) return status;
  if (auto status = ReadSuppliedSymbols(); !status.ok()) return FieldError("symbols_path", status);

  auto stats = hypercall::StatsFile::Create(config_.stats_path, config_.vcpus);
  if (!stats.ok()) return stats.status();
  auto chosen = ChooseEngine(
      config_.engine, image_, [this]() -> const auto& { return Probe(); });
  if (!chosen.ok()) return FieldError("engine", chosen.status());
  chosen_ = *std::move(chosen);
  auto engine = MakeEngine(**stats);
  if (!engine.ok()) return engine.status();
  engine_ = *std::move(engine);
  platform_ = std::make_unique<machine::Platform>(config_.vcpus, clock_, PlatformCallbacks(),
                                                  config_.memory_bytes);
  auto on_dead = [this](const FaultReport& report) { OnDead(report); };
  auto start = [this](uint32_t vcpu, const x86::Registers& registers) {
    vcpus_[vcpu]->Begin(registers);
  };
  for (uint32_t i = 0; i < config_.vcpus; ++i) {
    vcpus_.push_back(std::make_unique<VcpuThread>(
        i, VcpuShared{gate_, clock_, *platform_, *memory_, *this, hypercalls_, on_dead, start,
                      [this, i](uint64_t gva) { return SymbolizeFrom(i, gva); },
                      observer_.on_vcpu_thread}));
    auto vcpu = engine_->CreateVcpu(i, *vcpus_.back());
    if (!vcpu.ok()) return vcpu.status();
    vcpus_.back()->SetVcpu(*std::move(vcpu));
  }
  hypercalls_ = std::make_unique<hypercall::HypercallCore>(
      *engine_, *this, *this, *std::move(stats), config_.policy, observer_.on_site_event);
  if (auto status = hypercalls_->PresetSitePolicies(config_.site_policies); !status.ok())
    return FieldError("site_policies", status);
  for (auto& vcpu : vcpus_) vcpu->Launch();
  for (auto& vcpu : vcpus_) vcpu->AwaitLaunched();
  supervisor_ = std::thread([this] { Supervise(); });
  return absl::OkStatus();
}

VmImpl::~VmImpl() {
  {
    absl::MutexLock lock(&requests_mutex_);
    ending_ = true;
  }
  if (supervisor_.joinable()) supervisor_.join();
  gate_.Dismantle();
  for (auto& vcpu : vcpus_) vcpu->Nudge();
  for (auto& vcpu : vcpus_) vcpu->Join();
  if (platform_) platform_->timers().Stop();  // they call the vCPUs
}

absl::Status VmImpl::LoadImages() {
  auto loaded = machine::LoadImage(
      *memory_, {kernel_.bytes(), initrd_.bytes(), config_.command_line, config_.vcpus,
                 std::filesystem::path(config_.kernel_path).filename().string()});
  if (!loaded.ok()) {
    absl::string_view message = loaded.status().message();
    absl::string_view field = message.substr(0, 6) == "initrd"    ? "initrd"
                              : message.substr(0, 7) == "command" ? "command_line"
                                                                  : "kernel";
    return FieldError(field, loaded.status());
  }
  image_ = *std::move(loaded);
  code_entries_ = {image_.boot_registers.rip};
  for (const machine::Symbol& symbol : image_.symbols) {
    if (symbol.is_function) code_entries_.push_back(symbol.address);
  }
  symbols_->Begin(std::exchange(image_.symbols, {}), image_.kind == machine::ImageKind::kBzImage);
  return absl::OkStatus();
}

absl::Status VmImpl::ReadSuppliedSymbols() {
  if (config_.symbols_path.empty()) return absl::OkStatus();
  if (image_.kind != machine::ImageKind::kBzImage)
    return absl::InvalidArgumentError("only for a Linux bzImage: other images bring their own");
  auto bytes =
      ImageFile::Read(config_, config_.symbols_path, kMaxSymbolFile, "what can be symbols");
  if (!bytes.ok()) return bytes.status();
  auto file = ReadSymbolFile(bytes->bytes());
  if (!file.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config_.symbols_path, ": ", file.status().message()));
  }
  symbols_->Supply(config_.symbols_path, *std::move(file));
  return absl::OkStatus();
}

const engine::direct::HostProbe& VmImpl::Probe() {
  if (config_.host_probe) return *config_.host_probe;
  if (!probe_) probe_ = engine::direct::ProbeHost();
  return *probe_;
}

absl::StatusOr<std::unique_ptr<engine::Engine>> VmImpl::MakeEngine(
    const hypercall::StatsFile& stats) {
  std::vector<engine::RamRegion> ram;
  for (const machine::RamRegion& region : memory_->regions())
    ram.push_back({region.gpa, region.size, region.host});
  if (chosen_.kind == EngineKind::kSoft)
    return engine::CreateSoftEngine(ram, {config_.vcpus, clock_.frequency()});
  constexpr uint64_t kCounters = hypercall::kMaxSites * sizeof(hypercall::SiteCounters);
  static_assert(kCounters % x86::kPageSize == 0, "vCPUs' counters lie on pages of their own");
  const hypercall::StatsOffsets offsets = hypercall::OffsetsFor(config_.vcpus);
  const engine::direct::HostProbe& probe = Probe();
  memory_->SetReadOnly(ReadOnlyRanges(SegmentsOf(image_)));
  return engine::direct::CreateDirectEngine({.ram = std::move(ram),
                                             .ram_fd = memory_->fd(),
                                             .segments = SegmentsOf(image_),
                                             .entries = code_entries_,
                                             .stats_fd = stats.fd(),
                                             .counters_offset = offsets.counters,
                                             .counters_stride = kCounters,
                                             .counters_size = kCounters,
                                             .logs_offset = offsets.logs,
                                             .rings_offset = offsets.rings,
                                             .vmcall = probe.vmcall,
                                             .vmmcall = probe.vmmcall,
                                             .trap_cycles = probe.CyclesOf("ud2"),
                                             .interrupt_cycles = probe.CyclesOf("int 0x1f"),
                                             .tsc_frequency = clock_.frequency(),
                                             .vcpu_count = config_.vcpus,
                                             .console = observer_.on_console_output});
}

// ---- Moves ----

void VmImpl::NudgeAll() {
  for (auto& vcpu : vcpus_) vcpu->Nudge();
}

void VmImpl::SetState(State state, EventKind kind, std::string reason, int exit_status) {
  {
    absl::MutexLock lock(&state_mutex_);
    state_ = state;
    reason_ = reason;
    if (kind == EventKind::kGuestExit) exit_status_ = exit_status;
    if (kind == EventKind::kStarted) {
      exit_status_ = -1;
      failure_report_.clear();
    }
  }
  if (observer_.on_event) observer_.on_event({kind, state, std::move(reason), exit_status});
}

void VmImpl::LetRun() {
  clock_.Start();
  platform_->OnClockChanged();
  engine_->Thaw();
  gate_open_ = true;
  gate_.Open();
}

absl::Status VmImpl::Reboot() {
  ++boot_;
  platform_->Reset();
  hypercalls_->Reset();
  if (!fresh_) {
    if (auto status = memory_->Clear(); !status.ok()) return status;
    engine_->InvalidateCode(0, ~uint64_t{0});
    if (auto status = LoadImages(); !status.ok()) return status;
  }
  fresh_ = false;
  {
    absl::MutexLock lock(&console_mutex_);
    console_input_.clear();
  }
  for (uint64_t gpa : engine_->OnImageLoaded()) hypercalls_->ListAmbiguous(gpa);
  for (size_t i = 0; i < vcpus_.size(); ++i)
    vcpus_[i]->Prepare(i == 0 ? &image_.boot_registers : nullptr);
  return absl::OkStatus();
}

absl::Status VmImpl::Start() {
  BusyGuard busy(move_busy_);
  if (!busy.status().ok()) return busy.status();
  absl::MutexLock lock(&transition_mutex_);
  if (auto status = CheckMove(Move::kStart, state()); !status.ok()) return status;
  if (auto status = Reboot(); !status.ok()) return status;
  SetState(State::kRunning, EventKind::kStarted, "started");
  LetRun();
  return absl::OkStatus();
}

absl::Status VmImpl::Pause() {
  BusyGuard busy(move_busy_);
  if (!busy.status().ok()) return busy.status();
  absl::MutexLock lock(&transition_mutex_);
  if (auto status = CheckMove(Move::kPause, state()); !status.ok()) return status;
  CloseGate();
  gate_open_ = false;
  engine_->Freeze();
  clock_.Stop();
  platform_->OnClockChanged();
  SetState(State::kPaused, EventKind::kPaused, "paused");
  return absl::OkStatus();
}

absl::Status VmImpl::Resume() {
  BusyGuard busy(move_busy_);
  if (!busy.status().ok()) return busy.status();
  absl::MutexLock lock(&transition_mutex_);
  if (auto status = CheckMove(Move::kResume, state()); !status.ok()) return status;
  SetState(State::kRunning, EventKind::kResumed, "resumed");
  LetRun();
  return absl::OkStatus();
}

absl::Status VmImpl::Reset() {
  BusyGuard busy(move_busy_);
  if (!busy.status().ok()) return busy.status();
  absl::MutexLock lock(&transition_mutex_);
  if (auto status = CheckMove(Move::kReset, state()); !status.ok()) return status;
  if (gate_open_) CloseGate();
  gate_open_ = false;
  if (auto status = Reboot(); !status.ok()) return status;
  SetState(State::kRunning, EventKind::kReset, "reset on request");
  LetRun();
  return absl::OkStatus();
}

absl::StatusOr<StopOutcome> VmImpl::Stop(StopMode mode, absl::Duration grace) {
  BusyGuard busy(move_busy_);
  if (!busy.status().ok()) return busy.status();
  auto over = [this] {
    absl::MutexLock lock(&state_mutex_);
    return state_ != State::kRunning && state_ != State::kPaused;
  };
  if (over() && state() != State::kCreated) return StopOutcome::kAlreadyStopped;
  if (mode == StopMode::kGraceful && state() == State::kRunning) {
    platform_->PowerButton();
    if (vcpus_[0]->upcalls().TakesEvents()) vcpus_[0]->upcalls().Raise(TRAPLINE_EVENT_POWER);
    absl::MutexLock lock(&state_mutex_);
    auto gone = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_mutex_) {
      return state_ != State::kRunning && state_ != State::kPaused;
    };
    if (state_mutex_.AwaitWithTimeout(absl::Condition(&gone), grace))
      return StopOutcome::kGuestStopped;
  }
  absl::MutexLock lock(&transition_mutex_);
  if (over() && state() != State::kCreated) return StopOutcome::kGuestStopped;
  HaltForGood(State::kStopped, EventKind::kStopped, "stopped on request", -1);
  return StopOutcome::kForced;
}

void VmImpl::HaltForGood(State state, EventKind kind, const std::string& reason, int exit_status) {
  if (gate_open_) CloseGate();
  gate_open_ = false;
  engine_->Release();
  clock_.Stop();
  platform_->OnClockChanged();
  SetState(state, kind, reason, exit_status);
  if (kind == EventKind::kGuestExit || kind == EventKind::kGuestPowerOff)
    SetState(state, EventKind::kStopped, reason);
  if (kind == EventKind::kTripleFault) SetState(state, EventKind::kFailed, reason);
}

// ---- What the guest asks for ----

void VmImpl::Ask(Request request) {
  request.boot = boot_;
  absl::MutexLock lock(&requests_mutex_);
  requests_.push_back(std::move(request));
}

void VmImpl::OnDead(const FaultReport& report) {
  {
    absl::MutexLock lock(&state_mutex_);
    failure_report_ = absl::StrCat(report.line, "\n", report.details);
  }
  base::Log(base::LogLevel::kError, absl::StrCat(config_.name, ": ", report.line));
  for (absl::string_view line : absl::StrSplit(report.details, '\n', absl::SkipEmpty()))
    base::Log(base::LogLevel::kError, absl::StrCat(config_.name, ": ", line));
  Ask({EventKind::kTripleFault, report.line});
}

void VmImpl::Supervise() {
  for (;;) {
    Request request;
    {
      absl::MutexLock lock(&requests_mutex_);
      auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(requests_mutex_) {
        return ending_ || !requests_.empty();
      };
      requests_mutex_.Await(absl::Condition(&ready));
      if (ending_) return;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    Handle(request);
  }
}

void VmImpl::Handle(const Request& request) {
  absl::MutexLock lock(&transition_mutex_);
  // Something else ended this boot already, and perhaps there is a new one. A pause ends nothing:
  // it may have come between the request and this.
  const State before = state();
  if ((before != State::kRunning && before != State::kPaused) || request.boot != boot_) return;
  if (request.kind != EventKind::kGuestReset) {
    bool failed = request.kind == EventKind::kTripleFault;
    HaltForGood(failed ? State::kFailed : State::kStopped, request.kind, request.reason,
                request.exit_status);
    return;
  }
  if (gate_open_) CloseGate();
  gate_open_ = false;
  if (auto status = Reboot(); !status.ok()) {
    SetState(State::kFailed, EventKind::kFailed, absl::StrCat("cannot reboot: ", status.message()));
    return;
  }
  SetState(before, EventKind::kGuestReset, request.reason);
  if (before == State::kRunning) LetRun();
}

// ---- Services ----

bool VmImpl::KickVcpu(uint32_t apic_id) {
  if (apic_id >= vcpus_.size()) return false;
  vcpus_[apic_id]->Unhalt();
  return true;
}

bool VmImpl::SendInterrupt(uint32_t apic_id, bool nmi, uint8_t vector) {
  return platform_->SendTo(
      apic_id, nmi ? machine::DeliveryMode::kNmi : machine::DeliveryMode::kFixed, vector);
}

hypercall::StartOutcome VmImpl::StartVcpu(uint32_t caller, const hypercall::VcpuStart& start) {
  if (start.vcpu >= vcpus_.size()) return hypercall::StartOutcome::kNoSuchVcpu;
  if (!vcpus_[start.vcpu]->ClaimStart()) return hypercall::StartOutcome::kRunning;
  vcpus_[caller]->StartLater(start);
  return hypercall::StartOutcome::kStarted;
}

bool VmImpl::RaiseEvent(uint64_t vcpu, unsigned event) {
  if (vcpu >= vcpus_.size()) return false;
  vcpus_[vcpu]->upcalls().Raise(event);
  return true;
}

std::optional<uint64_t> VmImpl::ReadConsole(uint64_t gpa, uint64_t length) {
  std::byte* to = memory_->FindWritable(gpa, length);
  if (!to) return std::nullopt;
  absl::MutexLock lock(&console_mutex_);
  uint64_t count = std::min<uint64_t>(length, console_input_.size());
  auto end = console_input_.begin() + static_cast<ptrdiff_t>(count);
  std::transform(console_input_.begin(), end, to, [](char c) { return std::byte(c); });
  console_input_.erase(console_input_.begin(), end);
  return count;
}

size_t VmImpl::QueueConsole(std::string_view bytes) {
  absl::MutexLock lock(&console_mutex_);
  size_t taken = std::min(bytes.size(), kConsoleQueue - console_input_.size());
  console_input_.insert(console_input_.end(), bytes.begin(),
                        bytes.begin() + static_cast<ptrdiff_t>(taken));
  return taken;
}

// ---- Looking in ----

absl::Status VmImpl::WriteConsole(std::string_view bytes) {
  size_t taken;
  if (vcpus_[0]->upcalls().TakesEvents()) {
    taken = QueueConsole(bytes);
    vcpus_[0]->upcalls().Raise(TRAPLINE_EVENT_CONSOLE);
  } else {
    taken = platform_->WriteConsole(bytes);
  }
  if (taken == bytes.size()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the guest has not read its console: ", bytes.size() - taken, " of ",
                   bytes.size(), " bytes were dropped"));
}

absl::StatusOr<x86::Registers> VmImpl::ReadRegisters(uint32_t vcpu) {
  if (vcpu >= vcpus_.size())
    return absl::OutOfRangeError(absl::StrCat("vCPU ", vcpu, ": the VM has ", vcpus_.size()));
  CloseGate();
  x86::Registers registers = vcpus_[vcpu]->vcpu().GetRegisters();
  gate_.Open();
  return registers;
}

absl::StatusOr<std::vector<std::byte>> VmImpl::ReadPhysical(uint64_t gpa, uint64_t size) {
  if (size > kMaxRead)
    return absl::InvalidArgumentError(absl::StrCat("size: at most ", kMaxRead, " bytes at a time"));
  std::vector<std::byte> bytes(size);
  auto status = memory_->Read(gpa, bytes);
  if (!status.ok()) return status;
  return bytes;
}

absl::StatusOr<std::vector<std::byte>> VmImpl::ReadLinear(uint32_t vcpu, uint64_t gva,
                                                          uint64_t size) {
  if (vcpu >= vcpus_.size())
    return absl::OutOfRangeError(absl::StrCat("vCPU ", vcpu, ": the VM has ", vcpus_.size()));
  if (size > kMaxRead)
    return absl::InvalidArgumentError(absl::StrCat("size: at most ", kMaxRead, " bytes at a time"));
  std::vector<std::byte> bytes(size);
  CloseGate();
  absl::Status status = vm::ReadLinear(vcpus_[vcpu]->vcpu(), *memory_, gva, bytes);
  gate_.Open();
  if (!status.ok()) return status;
  return bytes;
}

absl::StatusOr<std::vector<Instruction>> VmImpl::Disassemble(uint32_t vcpu, uint64_t gva,
                                                             uint32_t count) {
  count = std::min(count, kMaxInstructions);
  auto registers = ReadRegisters(vcpu);
  if (!registers.ok()) return registers.status();
  uint64_t size = count * kLongestInstruction;
  auto bytes = ReadLinear(vcpu, gva, size);
  if (!bytes.ok()) {
    // Perhaps the page behind is not mapped: what is left of this one will do.
    size = std::min(size, x86::kPageSize - (gva & x86::kPageMask));
    bytes = ReadLinear(vcpu, gva, size);
  }
  if (!bytes.ok()) return bytes.status();
  return DisassembleBytes(*bytes, gva, CodeBits(*registers), count,
                          [this](uint64_t address) { return Symbolize(address); });
}

// Where to read the code around a site: what is mapped before and behind its page, as a vCPU sees
// it that has the site where it was executed; its own page alone where no vCPU does.
SitePlace VmImpl::PlaceOf(uint64_t gpa, uint64_t gva, unsigned* code_bits) {
  auto symbols = symbols_->table();
  SitePlace place(gva, gpa, symbols->Covering(gva));
  CloseGate();
  for (auto& vcpu : vcpus_) {
    auto here = vcpu->vcpu().Translate(gva);
    if (!here.ok() || *here != gpa) continue;
    const x86::Registers registers = vcpu->vcpu().GetRegisters();
    // A kernel in long mode is 64-bit code, whatever its user space is at the moment.
    *code_bits = registers.efer & x86::efer::kLma ? 64 : CodeBits(registers);
    place.Extend([&](uint64_t linear) { return vcpu->vcpu().Translate(linear); });
    break;
  }
  gate_.Open();
  return place;
}

absl::StatusOr<SiteCode> VmImpl::DisassembleSite(uint64_t gpa, uint32_t before, uint32_t after) {
  if (before > kMaxAroundSite || after > kMaxAroundSite) {
    return absl::InvalidArgumentError(
        absl::StrCat("at most ", kMaxAroundSite, " instructions before and behind a site"));
  }
  auto gva = hypercalls_->LinearAddressOf(gpa);
  if (!gva.ok()) return gva.status();
  Symbolize(*gva);  // has the table looked for
  CodeWindow window;
  const SitePlace place = PlaceOf(gpa, *gva, &window.code_bits);
  window.address = place.address();
  window.function = place.function();
  std::vector<engine::Trampoline> trampolines;
  // Nothing is rewritten meanwhile.
  engine_->RunExclusive([&] {
    for (uint64_t page : place.pages()) {
      std::vector<std::byte> bytes(x86::kPageSize);
      if (!memory_->Read(page, bytes).ok()) bytes.assign(bytes.size(), std::byte{0});
      window.current.insert(window.current.end(), bytes.begin(), bytes.end());
      hypercalls_->OverlayOriginal(page, bytes, /*fetch=*/false);
      engine_->OverlayOriginal(page, bytes);
      window.original.insert(window.original.end(), bytes.begin(), bytes.end());
    }
    trampolines = engine_->TrampolinesOf(gpa);
  });
  const Names names = [&](uint64_t address) {
    for (const engine::Trampoline& trampoline : trampolines) {
      if (trampoline.address == address) return trampoline.name;
    }
    return Symbolize(address);
  };
  SiteCode code{SiteLines(window, *gva, before, after, names), {}};
  for (const engine::Trampoline& trampoline : trampolines)
    code.trampolines.push_back(DescribeTrampoline(trampoline, names));
  return code;
}

GuestSymbols::Vcpus VmImpl::AllVcpus() {
  return [this](absl::FunctionRef<bool(engine::Vcpu&)> look) {
    CloseGate();
    for (auto& vcpu : vcpus_) {
      if (look(vcpu->vcpu())) break;
    }
    gate_.Open();
  };
}

std::string VmImpl::Symbolize(uint64_t gva) { return symbols_->Find(gva, AllVcpus()); }

std::string VmImpl::SymbolizeFrom(uint32_t vcpu, uint64_t gva) {
  return symbols_->Find(gva, [this, vcpu](absl::FunctionRef<bool(engine::Vcpu&)> look) {
    look(vcpus_[vcpu]->vcpu());
  });
}

void VmImpl::SymbolizeSites() {
  symbols_->Locate(AllVcpus());
  uint64_t revision = symbols_->revision();
  auto table = symbols_->table();
  hypercalls_->Symbolize([&](uint64_t gva) { return table->Find(gva); }, revision);
}

uint64_t VmImpl::instructions_retired() const {
  uint64_t sum = 0;
  for (auto& vcpu : vcpus_) sum += vcpu->vcpu().instructions_retired();
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Vm>> Vm::Create(const VmConfig& config, Observer observer) {
  if (!observer.on_console_output) observer.on_console_output = [](std::string_view) {};
  auto vm = std::make_unique<VmImpl>(config, std::move(observer));
  if (auto status = vm->Build(); !status.ok()) return status;
  return vm;
}

}  // namespace trapline::vm
