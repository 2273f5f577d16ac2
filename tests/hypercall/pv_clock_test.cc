// SPDX-License-Identifier: Apache-2.0
// kvm-clock and steal time as Linux, Documentation/virt/kvm/x86/msr.rst has them.
#include "core/hypercall/pv_clock.h"

#include <gtest/gtest.h>
#include <time.h>

#include <cmath>

#include "tests/hypercall/fakes.h"

namespace trapline::hypercall {
namespace {

constexpr uint32_t kWallClock = 0x4b564d00, kSystemTime = 0x4b564d01, kStealTime = 0x4b564d03;
constexpr uint32_t kWallClockOld = 0x11, kSystemTimeOld = 0x12;
constexpr uint64_t kEnabled = 1, kGpa = 0x1000;

// The guest's side of struct pvclock_vcpu_time_info (Linux, pvclock_scale_delta).
uint64_t NanosecondsAt(const FakeHost& host, uint64_t ticks) {
  uint64_t delta = ticks - host.At<uint64_t>(kGpa + 8);
  auto shift = host.At<int8_t>(kGpa + 28);
  delta = shift < 0 ? delta >> -shift : delta << shift;
  auto scaled = static_cast<unsigned __int128>(delta) * host.At<uint32_t>(kGpa + 24) >> 32;
  return host.At<uint64_t>(kGpa + 16) + static_cast<uint64_t>(scaled);
}

class Frequencies : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Frequencies, SystemTimeIsTicksInNanoseconds) {
  FakeHost host;
  PvClock clock(host, GetParam());
  ASSERT_TRUE(clock.WriteMsr(kSystemTime, kGpa | kEnabled));
  EXPECT_EQ(host.At<uint32_t>(kGpa) % 2, 0u);
  EXPECT_EQ(host.At<uint8_t>(kGpa + 29), 1);  // PVCLOCK_TSC_STABLE_BIT
  for (double seconds : {0.0, 0.001, 1.0, 60.0, 86400.0}) {
    auto ticks = static_cast<uint64_t>(seconds * static_cast<double>(GetParam()));
    auto told = static_cast<double>(NanosecondsAt(host, ticks));
    EXPECT_LE(std::abs(told - seconds * 1e9), 10 + seconds * 10) << seconds;  // 10 parts in 10^9
  }
}
INSTANTIATE_TEST_SUITE_P(All, Frequencies,
                         ::testing::Values(100'000'000, 999'999'999, 1'000'000'000, 1'000'000'001,
                                           2'000'000'000, 2'599'999'123, 4'500'000'000));

TEST(PvClock, WallClockIsTheTimeAtWhichGuestTimeWasZero) {
  FakeHost host;
  host.now = 5'000'000'000;
  PvClock clock(host, 1'000'000'000);
  int64_t before = time(nullptr);
  ASSERT_TRUE(clock.WriteMsr(kWallClock, kGpa));
  int64_t after = time(nullptr);
  int64_t told = host.At<uint32_t>(kGpa + 4);
  EXPECT_GE(told, before - 6);
  EXPECT_LE(told, after - 4);
  EXPECT_LT(host.At<uint32_t>(kGpa + 8), 1'000'000'000u);
}

TEST(PvClock, OldAndNewNumbersAreTheSameMsrs) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  uint64_t value;
  ASSERT_TRUE(clock.WriteMsr(kSystemTimeOld, kGpa | kEnabled));
  ASSERT_TRUE(clock.ReadMsr(kSystemTime, &value));
  EXPECT_EQ(value, kGpa | kEnabled);
  ASSERT_TRUE(clock.WriteMsr(kWallClockOld, kGpa));
  ASSERT_TRUE(clock.ReadMsr(kWallClock, &value));
  EXPECT_EQ(value, kGpa);
}

TEST(PvClock, ADisabledClockWritesNothing) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  ASSERT_TRUE(clock.WriteMsr(kSystemTime, kGpa));
  EXPECT_EQ(host.At<uint32_t>(kGpa), 0u);
  ASSERT_TRUE(clock.WriteMsr(kSystemTime, ~uint64_t{0} & ~kEnabled));
}

TEST(PvClock, PlacesThatAreNotRamAreRefused) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  uint64_t end = host.memory.size();
  EXPECT_FALSE(clock.WriteMsr(kSystemTime, (end - 16) | kEnabled));
  EXPECT_FALSE(clock.WriteMsr(kWallClock, end - 4));
  EXPECT_FALSE(clock.WriteMsr(kStealTime, end | kEnabled));
  EXPECT_FALSE(clock.WriteMsr(kSystemTime, ~uint64_t{0}));
  uint64_t value;
  ASSERT_TRUE(clock.ReadMsr(kSystemTime, &value));
  EXPECT_EQ(value, 0u) << "what was refused must not stay";
}

TEST(PvClock, ReservedBitsOfStealTimeAreRefused) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  for (uint64_t bit = 2; bit < 64; bit *= 2)
    EXPECT_FALSE(clock.WriteMsr(kStealTime, kGpa | bit | kEnabled)) << bit;
  EXPECT_FALSE(clock.WantsStealTime());
}

TEST(PvClock, OtherMsrsAreNotItsOwn) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  uint64_t value;
  EXPECT_FALSE(clock.ReadMsr(0x4b564d02, &value));
  EXPECT_FALSE(clock.WriteMsr(0x4b564d04, 0));
}

TEST(StealTime, IsToldToWhomWantsItWithAVersionThatIsEvenAndGrows) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  EXPECT_FALSE(clock.WantsStealTime());
  clock.UpdateStealTime(100);
  EXPECT_EQ(host.At<uint64_t>(kGpa), 0u);
  ASSERT_TRUE(clock.WriteMsr(kStealTime, kGpa | kEnabled));
  EXPECT_TRUE(clock.WantsStealTime());
  EXPECT_EQ(host.At<uint64_t>(kGpa), 100u);
  auto version = host.At<uint32_t>(kGpa + 8);
  EXPECT_EQ(version % 2, 0u);
  clock.UpdateStealTime(250);
  EXPECT_EQ(host.At<uint64_t>(kGpa), 250u);
  EXPECT_GT(host.At<uint32_t>(kGpa + 8), version);
  EXPECT_EQ(host.At<uint32_t>(kGpa + 8) % 2, 0u);
}

TEST(StealTime, EndsWithAReset) {
  FakeHost host;
  PvClock clock(host, 1'000'000'000);
  ASSERT_TRUE(clock.WriteMsr(kStealTime, kGpa | kEnabled));
  clock.Reset();
  clock.UpdateStealTime(100);
  EXPECT_EQ(host.At<uint64_t>(kGpa), 0u);
}

}  // namespace
}  // namespace trapline::hypercall
