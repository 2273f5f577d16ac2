// SPDX-License-Identifier: Apache-2.0
// Where everything is on the board: ports, interrupt lines, memory-mapped devices. The ACPI tables
// say the same to the guest.
#pragma once

#include <cstdint>

namespace trapline::machine::layout {

// Ports.
constexpr uint16_t kPicMaster = 0x20, kPicSlave = 0xa0, kPicPorts = 2;
constexpr uint16_t kElcr = 0x4d0;
constexpr uint16_t kPit = 0x40, kPitPorts = 4;
constexpr uint16_t kKeyboardData = 0x60, kKeyboardCommand = 0x64;
constexpr uint16_t kSystemControlB = 0x61;  // PIT channel 2 gate and output
constexpr uint16_t kRtc = 0x70, kRtcPorts = 2;
constexpr uint16_t kSystemControlA = 0x92;  // A20, fast reset
constexpr uint16_t kDebugExit = 0xf4, kDebugExitPorts = 4;
constexpr uint16_t kCom1 = 0x3f8, kUartPorts = 8;
constexpr uint16_t kFirmwareSelector = 0x510, kFirmwareData = 0x511;
constexpr uint16_t kPciAddress = 0xcf8;  // there is no PCI; guests look all the same
constexpr uint16_t kResetControl = 0xcf9;
// The test device: its register, and interrupt lines 0 to 15.
constexpr uint16_t kTestRegister = 0xe0, kTestRegisterPorts = 4;
constexpr uint16_t kTestLines = 0x2000, kTestLineCount = 16;
constexpr uint16_t kPm1Event = 0x600, kPm1Control = 0x604, kPmTimer = 0x608, kPmPorts = 12;

// Interrupt lines: global system interrupts of the I/O APIC; below 16 also lines of the PIC.
constexpr uint8_t kTimerLine = 0;  // pin 2 of the I/O APIC
constexpr uint8_t kTimerIoApicPin = 2;
constexpr uint8_t kCom1Line = 4;
constexpr uint8_t kRtcLine = 8;
constexpr uint8_t kSciLine = 9;

// Memory-mapped.
constexpr uint64_t kIoApicBase = 0xfec00000, kIoApicSize = 0x1000;
constexpr uint64_t kLocalApicBase = 0xfee00000;  // where it is after a reset
constexpr uint64_t kTestMemoryBase = 0xff000000;

// ACPI: the sleep type of S5 and the value that resets by port kResetControl.
constexpr uint8_t kS5SleepType = 5;
constexpr uint8_t kResetValue = 6;

}  // namespace trapline::machine::layout
