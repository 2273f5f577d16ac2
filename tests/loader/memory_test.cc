// SPDX-License-Identifier: Apache-2.0
// Guest RAM: where it lies, and that nothing outside of it can be reached.
#include "core/machine/memory/guest_memory.h"

#include <sys/stat.h>

#include <array>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/loader/image_bytes.h"

namespace trapline::machine {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20, kGib = uint64_t{1} << 30;

TEST(GuestMemory, SmallRamIsOneRegion) {
  auto memory = TestMemory(64 * kMib);
  ASSERT_EQ(memory->regions().size(), 1u);
  EXPECT_EQ(memory->regions()[0].gpa, 0u);
  EXPECT_EQ(memory->regions()[0].size, 64 * kMib);
}

TEST(GuestMemory, LargeRamLeavesTheHoleBelow4GiB) {
  auto memory = TestMemory(8 * kGib);
  ASSERT_EQ(memory->regions().size(), 2u);
  EXPECT_EQ(memory->regions()[0].size, kLowRamEnd);
  EXPECT_EQ(memory->regions()[1].gpa, kHighRamStart);
  EXPECT_EQ(memory->regions()[1].size, 8 * kGib - kLowRamEnd);
  for (uint64_t device : {uint64_t{0xfec00000}, uint64_t{0xfee00000}}) {
    EXPECT_EQ(memory->Find(device, 4), nullptr);
  }
}

TEST(GuestMemory, IsSparse) {
  auto memory = TestMemory(64 * kGib);
  const std::byte one{1};
  EXPECT_TRUE(memory->Write(63 * kGib, {&one, 1}).ok());
  struct stat info;
  ASSERT_EQ(fstat(memory->fd(), &info), 0);
  EXPECT_LE(info.st_blocks * 512, 4 * 1024 * 1024);
}

TEST(GuestMemory, RefusesOddSizes) {
  for (uint64_t size : {uint64_t{0}, uint64_t{4095}, kMib + 1, 64 * kGib + 4096, ~uint64_t{0}}) {
    EXPECT_EQ(GuestMemory::Create(size).status().code(), absl::StatusCode::kInvalidArgument)
        << size;
  }
}

TEST(GuestMemory, ReadsWhatWasWritten) {
  auto memory = TestMemory();
  std::array<std::byte, 3> in{std::byte{1}, std::byte{2}, std::byte{3}}, out{};
  ASSERT_TRUE(memory->Write(kMib - 1, in).ok());
  ASSERT_TRUE(memory->Read(kMib - 1, out).ok());
  EXPECT_EQ(in, out);
}

TEST(GuestMemory, RefusesWhatIsNotRam) {
  auto memory = TestMemory(4 * kGib);
  std::array<std::byte, 16> bytes{};
  for (uint64_t gpa : {kLowRamEnd - 15, kLowRamEnd, kHighRamStart - 1, kHighRamStart + kGib - 15,
                       ~uint64_t{0}, ~uint64_t{0} - 15}) {
    EXPECT_EQ(memory->Read(gpa, bytes).code(), absl::StatusCode::kOutOfRange) << std::hex << gpa;
    EXPECT_EQ(memory->Write(gpa, bytes).code(), absl::StatusCode::kOutOfRange) << std::hex << gpa;
  }
  EXPECT_EQ(memory->Find(0, ~uint64_t{0}), nullptr);
}

TEST(GuestMemory, ClearGivesZeroes) {
  auto memory = TestMemory();
  const std::byte one{1};
  ASSERT_TRUE(memory->Write(kMib, {&one, 1}).ok());
  ASSERT_TRUE(memory->Clear().ok());
  EXPECT_EQ(Peek<uint8_t>(*memory, kMib), 0);
  EXPECT_EQ(memory->size(), kTestMemory);
}

}  // namespace
}  // namespace trapline::machine
