// SPDX-License-Identifier: Apache-2.0
// A guest that does its worst to the board: the input is a list of accesses to ports, memory-mapped
// devices and MSRs, of interrupts taken and bytes typed.
#include "core/machine/platform/platform.h"

#include <cstdlib>
#include <string>

#include "core/machine/platform/layout.h"
#include "tests/fuzz/input.h"

namespace {

using namespace trapline;
using namespace trapline::machine;

constexpr uint32_t kVcpus = 4;

// Most inputs shall hit a device.
constexpr uint16_t kPorts[] = {0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x40,  0x42,  0x43,
                               0x61,  0x64,  0x70,  0x71,  0x92,  0xe0,  0xf4,  0x3f8,
                               0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff, 0x510, 0x511, 0x600,
                               0x602, 0x604, 0x608, 0xcf8, 0xcf9, 0x2000};
constexpr uint64_t kPlaces[] = {layout::kLocalApicBase, layout::kIoApicBase,
                                layout::kTestMemoryBase, 0xd0000000};
constexpr uint32_t kMsrs[] = {0x1b, 0x6e0, 0x800, 0x830};

void Act(Platform& board, Input& input) {
  auto what = input.Take<uint8_t>();
  uint32_t vcpu = (what >> 4) % kVcpus;
  unsigned size = 1u << input.Take<uint8_t>() % 4;
  unsigned port_size = size > 4 ? 4 : size;
  auto where = input.Take<uint16_t>();
  uint16_t port = where & 0x8000 ? where : kPorts[where % std::size(kPorts)];
  uint64_t gpa = kPlaces[(where >> 12) % std::size(kPlaces)] + (where & 0xfff);
  uint32_t msr = kMsrs[(where >> 12) % std::size(kMsrs)] + (where & 0xff);
  switch (what & 15) {
    case 0:
    case 1:
    case 2:
      return board.WritePort(vcpu, port, port_size, input.Take<uint32_t>());
    case 3:
      board.ReadPort(vcpu, port, port_size);
      return;
    case 4:
    case 5:
    case 6:
      return board.WriteMmio(vcpu, gpa, size, input.Take<uint64_t>());
    case 7:
      board.ReadMmio(vcpu, gpa, size);
      return;
    case 8:
    case 9:
      board.WriteMsr(vcpu, msr, input.Take<uint64_t>());
      return;
    case 10: {
      uint64_t value;
      board.ReadMsr(vcpu, msr, &value);
      return;
    }
    case 11:
      board.AcknowledgeInterrupt(vcpu);
      return;
    case 12:
      board.TakeNmi(vcpu);
      board.HasWork(vcpu);
      return;
    case 13:
      board.WriteConsole("typed");
      return;
    case 14:
      board.SendTo(input.Take<uint8_t>(), static_cast<DeliveryMode>(size - 1),
                   input.Take<uint8_t>());
      return;
    default:
      board.InitApic(vcpu);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static base::VmClock& clock = *new base::VmClock;
  PlatformObserver observer;
  observer.on_attention = observer.on_init = [](uint32_t) {};
  observer.on_startup = [](uint32_t vcpu, uint8_t) {
    if (vcpu >= kVcpus) std::abort();
  };
  observer.on_reset = observer.on_console_output = [](std::string_view) {};
  observer.on_power_off = [] {};
  observer.on_debug_exit = [](uint32_t) {};
  clock.Start();
  Platform board(kVcpus, clock, observer);
  for (Input input{data, size}; input.left > 0;) Act(board, input);
  return 0;
}
