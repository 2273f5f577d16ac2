// SPDX-License-Identifier: Apache-2.0
// The loop that finds blocks and runs them until the vCPU has to leave.
#pragma once

#include <optional>
#include <span>

#include "core/engine/engine.h"
#include "core/engine/soft/block.h"
#include "core/engine/soft/cpu.h"
#include "core/engine/soft/decode/decoder.h"

namespace trapline::engine::soft {

class Dispatcher {
 public:
  explicit Dispatcher(Cpu& cpu) : cpu_(cpu) {}

  // Runs guest code from Cpu::rip until an exit. Within Exclusive's Begin and End.
  Exit Run();

  // An exception to deliver before the next instruction.
  void Inject(const Fault& fault);

 private:
  // Runs blocks until exit_ is set. A fault is thrown; Cpu::current is then the Op that raised it,
  // or null between two.
  void RunBlocks();
  // Looks at Cpu::attention; false: exit_ is set.
  bool Attend();
  void DeliverPending();
  Block* FindBlock(bool single);
  void Decode(Block* block, const BlockMode& mode);
  void DecodeAcross(Block* block, const DecodeContext& context, std::span<uint8_t> bytes,
                    size_t here);
  std::span<const uint8_t> FetchBytes(const Cpu::FetchPage& page, uint64_t at,
                                      std::span<uint8_t> bytes);
  bool HandleFault(const Fault& fault, const Op* op);
  bool Deliver(const Fault& fault);
  // Whether the next instruction is to be run alone; sets the attention that keeps it so.
  bool Alone(bool shadow);
  void CheckCodeBreakpoint(bool resume);
  void RaiseDebugTraps(bool stepping);
  void FillTrap(uint64_t raised);
  void FillException(const Fault& fault);

  Cpu& cpu_;
  BlockCache cache_;
  uint64_t cleared_ = 0;  // how often cache_ was emptied
  Exit exit_{};
  std::optional<Fault> injected_;
};

}  // namespace trapline::engine::soft
