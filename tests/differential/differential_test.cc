// SPDX-License-Identifier: Apache-2.0
// Every instruction that user mode can execute, on the real processor and on engine `soft`, from
// the same state: registers, defined flags, memory and fault must be the same.
//
// TRAPLINE_DIFFERENTIAL_SEED picks other instances; TRAPLINE_DIFFERENTIAL_COUNT how many of each
// mode.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/differential/compare.h"
#include "tests/differential/generator.h"
#include "tests/differential/native.h"
#include "tests/differential/soft_cpu.h"
#include "tests/differential/undefined.h"

namespace trapline::differential {
namespace {

constexpr uint64_t kSeed = 20081;
constexpr uint64_t kCount = 64 * kBatchSize;
constexpr size_t kMostReports = 20;
// Prefixes that change nothing are tried less often than what they decorate.
constexpr uint64_t kDecoratedOneIn = 4;

// A sanitizer maps memory of its own where instances expect to find none: then the software side
// runs alone, for the sanitizer to watch.
#ifdef TRAPLINE_SANITIZED
constexpr bool kCompare = false;
#else
constexpr bool kCompare = true;
#endif

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

struct Tally {
  uint64_t compared = 0, different = 0;
  std::map<ZydisMnemonic, uint64_t> mnemonics, differences;
};

class Comparison {
 public:
  Comparison(Mode mode, uint64_t seed)
      : shapes_(AllShapes(mode)),
        generator_(mode, seed, NativeCpu::FsBase()),
        soft_(NativeCpu::FsBase()) {}

  // Makes a batch, runs it on both, and adds to the tally. False: the harness failed.
  bool RunBatch(Tally* tally) {
    MakeBatch();
    Background background;
    generator_.inputs().FillBackground(background);
    std::string error = kCompare ? native_.Run(instances_, background) : "";
    if (!error.empty()) {
      ADD_FAILURE() << error;
      return false;
    }
    soft_.Load(instances_);
    for (size_t i = 0; i < instances_.size(); ++i) {
      Compare(instances_[i], i, background, tally);
    }
    return true;
  }

 private:
  const Shape& NextShape() {
    for (;;) {
      const Shape& shape = shapes_[next_shape_++ % shapes_.size()];
      if (!shape.decorated || generator_.inputs().OneIn(kDecoratedOneIn)) return shape;
    }
  }

  void MakeBatch() {
    instances_.clear();
    mnemonics_.clear();
    while (instances_.size() < kBatchSize) {
      const Shape& shape = NextShape();
      Instance instance;
      bool last = instances_.size() == kBatchSize - 1;
      if (!generator_.Make(shape, instances_.size(), last, &instance)) continue;
      instance.number = next_number_++;
      instances_.push_back(instance);
      mnemonics_.push_back(shape.mnemonic);
    }
  }

  void Compare(const Instance& instance, size_t i, const Background& background, Tally* tally) {
    if (WhatIsUndefined(instance).result) return;
    std::string difference = soft_.Run(instance, background, &outcome_);
    if (difference.empty() && kCompare) {
      difference = Difference(instance, native_.outcomes()[i], outcome_);
    }
    ++tally->compared;
    ++tally->mnemonics[mnemonics_[i]];
    if (difference.empty()) return;
    ++tally->differences[mnemonics_[i]];
    if (++tally->different <= kMostReports) ADD_FAILURE() << Describe(instance) << difference;
  }

  const std::vector<Shape> shapes_;
  Generator generator_;
  NativeCpu native_;
  SoftCpu soft_;
  Outcome outcome_;
  std::vector<Instance> instances_;
  std::vector<ZydisMnemonic> mnemonics_;
  size_t next_shape_ = 0;
  uint32_t next_number_ = 0;
};

Tally RunMode(Mode mode) {
  uint64_t seed = FromEnvironment("TRAPLINE_DIFFERENTIAL_SEED", kSeed);
  uint64_t count = FromEnvironment("TRAPLINE_DIFFERENTIAL_COUNT", kCount);
  Comparison comparison(mode, seed);
  Tally tally;
  while (tally.compared < count && comparison.RunBatch(&tally)) {
  }
  std::cout << tally.compared << " instances of " << tally.mnemonics.size() << " mnemonics, seed "
            << seed << ": " << tally.different << " differ\n";
  for (const auto& [mnemonic, times] : tally.differences) {
    std::cout << "  " << ZydisMnemonicGetString(mnemonic) << ": " << times << " of "
              << tally.mnemonics[mnemonic] << "\n";
  }
  EXPECT_EQ(tally.different, 0u);
  EXPECT_GE(tally.compared, count);
  return tally;
}

TEST(Differential, SixtyFourBitCode) { EXPECT_GE(RunMode(Mode::k64).mnemonics.size(), 200u); }

TEST(Differential, CompatibilityMode) { EXPECT_GE(RunMode(Mode::kCompat).mnemonics.size(), 200u); }

}  // namespace
}  // namespace trapline::differential
