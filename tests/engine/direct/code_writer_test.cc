// SPDX-License-Identifier: Apache-2.0
// Code that changes is never seen half old and half new behind a first byte that is either.
#include "core/engine/direct/code_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

namespace trapline::engine::direct {
namespace {

using ::testing::ElementsAre;

TEST(CodeWriter, WritesAsManyBytesAsItIsGiven) {
  std::array<std::byte, 6> code{};
  RewriteCode(code.data(), std::array<uint8_t, 5>{1, 2, 3, 4, 5});
  EXPECT_THAT(code, ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                std::byte{5}, std::byte{0}));
  RewriteCode(code.data() + 1, std::array<uint8_t, 1>{9});
  EXPECT_THAT(code, ElementsAre(std::byte{1}, std::byte{9}, std::byte{3}, std::byte{4},
                                std::byte{5}, std::byte{0}));
}

// Who finds the same first byte before and behind, not the breakpoint, found all bytes of one
// version: each is told from its neighbours by its value.
TEST(CodeWriter, BehindAFirstByteAllBytesAreOfItsVersion) {
  constexpr uint8_t kBreakpoint = 0xcc;
  constexpr size_t kSize = 5;
  std::array<std::atomic<uint8_t>, kSize> code{};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    constexpr int kRewrites = 20'000;
    for (int i = 1; i <= kRewrites; ++i) {
      std::array<uint8_t, kSize> version;
      version.fill(static_cast<uint8_t>(i % kBreakpoint));
      RewriteCode(reinterpret_cast<std::byte*>(code.data()), version);
    }
    done = true;
  });
  uint64_t mixed = 0;
  do {
    std::array<uint8_t, kSize> seen;
    for (size_t i = 0; i < kSize; ++i) seen[i] = code[i].load();
    if (seen[0] == kBreakpoint || code[0].load() != seen[0]) continue;
    for (uint8_t byte : seen) mixed += byte != seen[0] ? 1 : 0;
  } while (!done);
  writer.join();
  EXPECT_EQ(mixed, 0u);
}

}  // namespace
}  // namespace trapline::engine::direct
