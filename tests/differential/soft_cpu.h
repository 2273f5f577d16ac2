// SPDX-License-Identifier: Apache-2.0
// The software processor: engine `soft` in ring 3 of a machine that looks like a Linux process.
#pragma once

#include <memory>
#include <string>

#include "core/engine/engine.h"
#include "tests/differential/instance.h"
#include "tests/soft/guest_machine.h"

namespace trapline::differential {

// Not thread-safe.
class SoftCpu {
 public:
  explicit SoftCpu(uint64_t fs_base);
  ~SoftCpu();
  SoftCpu(const SoftCpu&) = delete;
  SoftCpu& operator=(const SoftCpu&) = delete;

  // Puts the instances' code in place.
  void Load(std::span<const Instance> instances);
  // Runs one that was loaded. Returns an error message if it ended in a way that no instruction may
  // end in, else "".
  std::string Run(const Instance& instance, const Background& background, Outcome* outcome);

 private:
  void BuildTables();
  void Map(uint64_t linear, uint64_t physical, uint64_t size, uint64_t flags);
  x86::Registers Start(const State& in) const;

  const uint64_t fs_base_;
  std::byte* ram_;
  uint64_t next_table_;
  engine::RamRegion region_;
  engine::NoHost host_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Vcpu> vcpu_;
};

}  // namespace trapline::differential
