// SPDX-License-Identifier: Apache-2.0
// Runs arbitrary code on the software CPU twice: in blocks that are kept and chained, and, as a
// breakpoint is armed, one instruction at a time. The code may change itself, and is changed from
// outside between two runs, as a disk would. Both machines must end alike.
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "tests/soft/guest_machine.h"

namespace {

using namespace trapline;
using namespace trapline::engine;

constexpr size_t kMostCode = 2048;

// Ends what would never end.
class Watchdog {
 public:
  Watchdog() : thread_([this] { Watch(); }) {}

  Exit Run(Vcpu& vcpu) {
    Set(&vcpu);
    Exit exit = vcpu.Run();
    Set(nullptr);
    return exit;
  }

 private:
  static constexpr auto kPatience = std::chrono::milliseconds(2);

  void Set(Vcpu* vcpu) {
    {
      std::lock_guard lock(mutex_);
      vcpu_ = vcpu;
      ++run_;
    }
    changed_.notify_one();
  }
  [[noreturn]] void Watch() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return vcpu_ != nullptr; });
      uint64_t run = run_;
      while (!changed_.wait_for(lock, kPatience, [&] { return run_ != run; })) vcpu_->Kick();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Vcpu* vcpu_ = nullptr;
  uint64_t run_ = 0;
  std::thread thread_;
};

// In user mode, which cannot see the debug registers, the one thing that differs.
void EnterUserMode(GuestMachine& machine, uint8_t how) {
  if (how % 3 != 0) machine.EnterLegacy(how % 3 == 1);
  if (how % 3 == 2) machine.registers.segment[x86::kCs].base = GuestMachine::kCode;
  constexpr uint64_t kTables = 0x1000, kLevels = 3;
  for (uint64_t at = kTables; at < kTables + kLevels * 0x1000; at += 8) {
    if (auto entry = machine.Peek<uint64_t>(at)) machine.Poke(at, entry | x86::pte::kUser);
  }
  for (x86::Segment& segment : machine.registers.segment) {
    segment.selector |= 3;
    segment.attributes |= 3 << x86::segment_attribute::kDplShift;
  }
  // To write to the code is the most interesting thing to do.
  for (auto name : {x86::kRbx, x86::kRbp, x86::kRsi, x86::kRdi})
    machine.registers.gpr[name] = GuestMachine::kCode + 0x20 * name;
}

void ArmBreakpoint(GuestMachine& machine) {
  machine.registers.dr[0] = GuestMachine::kSize - 1;
  machine.registers.dr[7] = 1;
}

// Where code, data and stack are; all of RAM would take longer than the run.
bool SameMemory(GuestMachine& a, GuestMachine& b) {
  constexpr uint64_t kWindow = 0x10000;
  for (uint64_t at :
       {uint64_t{0}, GuestMachine::kCode, GuestMachine::kData, GuestMachine::kStackTop - kWindow}) {
    if (std::memcmp(a.ram() + at, b.ram() + at, kWindow) != 0) return false;
  }
  return true;
}

bool Alike(GuestMachine& blocks, GuestMachine& steps) {
  x86::Registers a = blocks.registers, b = steps.registers;
  a.dr = b.dr;
  return a == b && SameMemory(blocks, steps) &&
         blocks.vcpu().instructions_retired() == steps.vcpu().instructions_retired();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Watchdog& watchdog = *new Watchdog;
  if (size < 3 || size > kMostCode) return 0;
  const uint8_t how = data[0];
  // The second part replaces what stands at the beginning by then.
  const size_t first = 2 + data[1] % (size - 2);
  GuestMachine blocks, steps;
  EnterUserMode(blocks, how);
  EnterUserMode(steps, how);
  ArmBreakpoint(steps);
  for (std::span<const uint8_t> code :
       {std::span(data + 2, first - 2), std::span(data + first, size - first)}) {
    Exit exits[2];
    GuestMachine* machines[] = {&blocks, &steps};
    for (int i = 0; i < 2; ++i) {
      machines[i]->Load(code);
      exits[i] = watchdog.Run(machines[i]->vcpu());
      machines[i]->registers = machines[i]->vcpu().GetRegisters();
      // Where it stands then is chance.
      if (exits[i].reason == ExitReason::kKick) return 0;
    }
    if (exits[0].reason != exits[1].reason || !Alike(blocks, steps)) std::abort();
  }
  return 0;
}
