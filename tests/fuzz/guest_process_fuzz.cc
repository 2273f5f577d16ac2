// SPDX-License-Identifier: Apache-2.0
// The VMM's side of the guest-process protocol, over a process that writes whatever it likes into
// what the two share: the control page and the console ring. The vCPU ends runs with exits, or
// fails with a reason; nothing else.
//
// The process is a thread here, which answers each turn by writing the next bytes of the input over
// some of the control page. Hypercalls are real ones (core/hypercall), on the host that tests have.
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "core/engine/direct/vcpu.h"
#include "core/guest/abi.h"
#include "tests/engine/machine.h"

namespace {

using namespace trapline;
using namespace trapline::engine;
using namespace trapline::engine::direct;

constexpr uint64_t kRamSize = 2 << 20, kText = 0x100000;
// vmcall with room for a jump; vmcall of five bytes; ret. Behind them what the guest may "execute".
constexpr uint8_t kCode[] = {0x0f, 0x01, 0xc1, 0x0f, 0x1f, 0x40, 0x00, 0x0f, 0x01,
                             0xc1, 0x66, 0x90, 0xc3, 0xfa, 0xec, 0xf4, 0x0f, 0xa2};

void Expect(bool good) {
  if (!good) std::abort();
}

// What is written of one turn, from an offset into the control page on.
struct Move {
  Request request;
  uint16_t offset;
  uint8_t size;
  const uint8_t* bytes;
};

// Plays the guest process: a thread that waits for its turn.
class Player {
 public:
  void Play(Channel& channel, const uint8_t* data, size_t size) {
    data_ = data, left_ = size;
    channel_ = &channel;
    over_ = false;
  }
  bool over() const { return over_; }

  // The guest's turn: one move. Called by the thread.
  void Turn() {
    ControlPage& c = channel_->control();
    Move move = Next();
    auto* page = reinterpret_cast<uint8_t*>(&c);
    size_t room = kSetupOffset - move.offset;
    if (move.size != 0)
      std::memcpy(page + move.offset, move.bytes, std::min<size_t>(move.size, room));
    c.request = move.request;
  }

 private:
  Move Next() {
    constexpr size_t kHead = 4;
    Move move{Request::kKicked, 0, 0, nullptr};
    if (left_ < kHead) {
      over_ = true;
      return move;
    }
    // Mostly one that means something.
    move.request = static_cast<Request>(data_[0] % 9);
    std::memcpy(&move.offset, data_ + 1, sizeof move.offset);
    // Three in four land in the frame and what describes a fault.
    if (data_[3] & 0xc0) move.offset = CONTROL_FRAME + move.offset % 192;
    move.size = static_cast<uint8_t>(std::min<size_t>(data_[3] & 63, left_ - kHead));
    move.bytes = data_ + kHead;
    // Not the turn itself, and not who sleeps, which would only cost time.
    constexpr size_t kWords = offsetof(ControlPage, turn), kBehind = offsetof(ControlPage, request);
    if (move.offset < kBehind && move.offset + move.size > kWords) move.offset = kBehind;
    data_ += kHead + move.size, left_ -= kHead + move.size;
    return move;
  }

  Channel* channel_ = nullptr;
  const uint8_t* data_ = nullptr;
  size_t left_ = 0;
  bool over_ = false;
};

// The thread of all inputs' guests.
class Guest final : public GuestProcess {
 public:
  Guest(Channel& channel, Player& player) : channel_(channel), player_(player) {
    thread_ = std::thread([this] {
      ControlPage& c = channel_.control();
      while (!gone_) {
        if (c.turn.load() != static_cast<uint32_t>(direct::Turn::kGuest)) {
          std::this_thread::yield();
          continue;
        }
        if (std::exchange(ready_, true)) {
          player_.Turn();
        } else {
          c.request = Request::kReady;
        }
        c.turn = static_cast<uint32_t>(direct::Turn::kHost);
        if (c.host_sleeps != 0) syscall(SYS_futex, &c.turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
      }
    });
  }
  ~Guest() override {
    gone_ = true;
    thread_.join();
  }
  int pidfd() const override { return event_.get(); }
  void Kick() override {}
  void Kill() override {}
  void Freeze() override {}
  void Thaw() override {}
  std::string Reap() override { return "was gone"; }

 private:
  Channel& channel_;
  Player& player_;
  base::UniqueFd event_{eventfd(0, EFD_CLOEXEC)};
  std::atomic<bool> gone_{false};
  bool ready_ = false;
  std::thread thread_;
};

struct World {
  World() {
    auto made = SharedArea::Create("fuzz-ram", kRamSize);
    Expect(made.ok());
    ram = *std::move(made);
    std::memcpy(ram->data() + kText, kCode, sizeof kCode);
    TextSpan text{kText, {ram->data() + kText, kPage}};
    auto code_made = GuestCode::Create({text}, {kText}, TrapKinds{}, {{0, kRamSize}});
    auto watch_made = ProcessWatch::Create();
    Expect(code_made.ok() && watch_made.ok());
    code = *std::move(code_made);
    watch = *std::move(watch_made);
    code->Load();
    shared.reset(
        new DirectShared{.config = {.ram = {{0, kRamSize, ram->data()}},
                                    .ram_fd = ram->fd(),
                                    .segments = {{kText, kPage, false, true}},
                                    .stats_fd = ram->fd(),
                                    .counters_size = kPage,
                                    .vcpu_count = 1,
                                    .console = [](std::string_view) {}},
                         .code = *code,
                         .watch = *watch,
                         .start = [this](Channel& channel, const GuestProcess::Descriptors&)
                             -> absl::StatusOr<std::unique_ptr<GuestProcess>> {
                           channel_used = &channel;
                           player.Play(channel, data, size);
                           return std::make_unique<Guest>(channel, player);
                         }});
    host.on_interrupt_site = [](HypercallFrame& frame, uint64_t gpa) {
      frame.length = kSiteLength;
      return gpa & 1 ? HypercallOutcome::kNotOurs : HypercallOutcome::kServed;
    };
    host.resolve = [this](uint64_t gpa) { return gpa == kText ? this : nullptr; };
    host.on_linked = [](void*, HypercallFrame& frame) {
      frame.gpr[x86::kRax] = frame.gpr[x86::kRbx];
      return HypercallOutcome::kServed;
    };
    auto channel = Channel::Create(shared->config.console);
    Expect(channel.ok());
    vcpu = std::make_unique<DirectVcpu>(0, host, *shared, *std::move(channel));
  }

  std::unique_ptr<SharedArea> ram;
  std::unique_ptr<GuestCode> code;
  std::unique_ptr<ProcessWatch> watch;
  std::unique_ptr<DirectShared> shared;
  TestHost host;
  Player player;
  Channel* channel_used = nullptr;
  const uint8_t* data = nullptr;
  size_t size = 0;
  std::unique_ptr<DirectVcpu> vcpu;
};

void CheckExit(const Exit& exit, DirectVcpu& vcpu) {
  Expect(exit.reason != ExitReason::kFailure || !exit.failure.empty());
  if (exit.reason == ExitReason::kTrap) {
    Expect(exit.trap.length <= kSiteLength && exit.trap.cpl == 0);
    for (unsigned i = 0; i < exit.trap.length; ++i)
      Expect(exit.trap.gpa[i] < kRamSize + kSiteLength);
    vcpu.SetRip(vcpu.Frame().rip + kSiteLength);
  }
  if (exit.reason == ExitReason::kException)
    Expect(static_cast<unsigned>(exit.exception.vector) < 32);
  // Registers come from the guest, whatever they are; asking for them is safe.
  x86::Registers registers = vcpu.GetRegisters();
  vcpu.Translate(registers.rip).IgnoreError();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World& world = *new World;
  world.data = data, world.size = size;
  x86::Registers registers;
  registers.rip = kText;
  world.vcpu->SetRegisters(registers);
  world.host.port_reads.clear();
  world.host.port_writes.clear();
  for (bool failed = false; !failed;) {
    Exit exit = world.vcpu->Run();
    CheckExit(exit, *world.vcpu);
    failed = exit.reason == ExitReason::kFailure;
    if (world.player.over()) break;
  }
  world.vcpu->Release();
  // Text is the VMM's own, whatever the guest said.
  Expect(std::memcmp(world.ram->data() + kText + 3, kCode + 3, 4) == 0);
  return 0;
}
