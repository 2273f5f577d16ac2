// SPDX-License-Identifier: Apache-2.0
// What each hypercall does and answers; KVM's as Linux, Documentation/virt/kvm/x86/hypercalls.rst
// has them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include "core/guest/abi.h"
#include "core/guest/hypercalls.h"
#include "tests/hypercall/fakes.h"

namespace trapline::hypercall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct FakeLedger final : LedgerServices {
  bool RegisterDirectSites(uint64_t start, uint64_t length) override {
    direct = {start, length};
    return length != 0;
  }
  bool LimitTechnique(uint64_t technique) override {
    limit = technique;
    return technique == TRAPLINE_TECHNIQUE_LINKED;
  }
  std::pair<uint64_t, uint64_t> direct;
  uint64_t limit = 0;
};

class Services : public ::testing::Test {
 protected:
  int64_t Ask(uint64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
    call_ = Call{.vcpu = 2, .number = number, .args = {a, b, c, d}};
    Serve(host_, ledger_, call_);
    return static_cast<int64_t>(call_.result);
  }
  FakeHost host_;
  FakeLedger ledger_;
  Call call_;
};

constexpr uint64_t kNmi = 4 << 8, kInit = 5 << 8;

TEST_F(Services, AnUnknownNumberIsAnsweredWithEnosys) {
  EXPECT_EQ(Ask(0), -KVM_ENOSYS);
  EXPECT_EQ(Ask(4711), -KVM_ENOSYS);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT + 1), -KVM_ENOSYS);
  EXPECT_EQ(Ask(~uint64_t{0}), -KVM_ENOSYS);
}

TEST_F(Services, KickCpuWakesTheVcpuOfItsSecondArgument) {
  EXPECT_EQ(Ask(KVM_HC_KICK_CPU, 0, 3), 0);
  EXPECT_THAT(host_.kicked, ElementsAre(3));
}

TEST_F(Services, SendIpiReachesWhomTheMapNames) {
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, 0b1011, 0, 0, 0xfd), 3);
  EXPECT_THAT(host_.sent, ElementsAre(SentInterrupt{0, false, 0xfd}, SentInterrupt{1, false, 0xfd},
                                      SentInterrupt{3, false, 0xfd}));
}

TEST_F(Services, SendIpiCountsFromItsLowestId) {
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, 0b11, 0, 2, 0xfd), 2);
  EXPECT_THAT(host_.sent,
              ElementsAre(SentInterrupt{2, false, 0xfd}, SentInterrupt{3, false, 0xfd}));
}

TEST_F(Services, SendIpiSendsNmis) {
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, 0b10, 0, 0, kNmi), 1);
  EXPECT_THAT(host_.sent, ElementsAre(SentInterrupt{1, true, 0}));
}

TEST_F(Services, SendIpiPassesOverIdsThatNobodyHas) {
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, ~uint64_t{0}, ~uint64_t{0}, 1, 0xfd), 3);
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0} - 200, 0xfd), 0);
}

TEST_F(Services, SendIpiRefusesOtherDeliveryModes) {
  EXPECT_EQ(Ask(KVM_HC_SEND_IPI, 1, 0, 0, kInit), -KVM_EINVAL);
  EXPECT_THAT(host_.sent, IsEmpty());
}

TEST_F(Services, ClockPairingTellsTheHostsTimeAndTheTscOfTheSameMoment) {
  timespec before, after;
  clock_gettime(CLOCK_REALTIME, &before);
  ASSERT_EQ(Ask(KVM_HC_CLOCK_PAIRING, 0x100, 0), 0);
  clock_gettime(CLOCK_REALTIME, &after);
  auto nanoseconds = [](int64_t s, int64_t ns) { return s * 1'000'000'000 + ns; };
  int64_t told = nanoseconds(host_.At<int64_t>(0x100), host_.At<int64_t>(0x108));
  EXPECT_GE(told, nanoseconds(before.tv_sec, before.tv_nsec));
  EXPECT_LE(told, nanoseconds(after.tv_sec, after.tv_nsec));
  EXPECT_NE(host_.At<uint64_t>(0x110), 0u);
  EXPECT_EQ(host_.At<uint32_t>(0x118), 0u);
}

TEST_F(Services, ClockPairingRefusesOtherClocksAndBadPlaces) {
  EXPECT_EQ(Ask(KVM_HC_CLOCK_PAIRING, 0x100, 1), -KVM_EOPNOTSUPP);
  EXPECT_EQ(Ask(KVM_HC_CLOCK_PAIRING, host_.memory.size() - 63, 0), -KVM_EFAULT);
  EXPECT_EQ(Ask(KVM_HC_CLOCK_PAIRING, ~uint64_t{0}, 0), -KVM_EFAULT);
}

TEST_F(Services, ConsoleWriteSaysWhatLiesInMemory) {
  std::memcpy(host_.memory.data() + 0x200, "hello", 5);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, 0x200, 5), 5);
  EXPECT_EQ(host_.console, "hello");
}

TEST_F(Services, ConsoleWriteChecksLengthAndPlace) {
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, 0, 4096), 4096);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, 0, 4097), -KVM_E2BIG);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, 0, ~uint64_t{0}), -KVM_E2BIG);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, host_.memory.size() - 4, 5), -KVM_EFAULT);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_WRITE, ~uint64_t{0} - 1, 5), -KVM_EFAULT);
}

TEST_F(Services, TheSmallOnesAnswer) {
  host_.now = 12345;
  EXPECT_EQ(Ask(TRAPLINE_HC_PING, 42), 42);
  EXPECT_EQ(Ask(TRAPLINE_HC_CLOCK), 12345);
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_NUMBER), 2);
  EXPECT_EQ(Ask(KVM_HC_SCHED_YIELD, 1), 0);
  EXPECT_NE(Ask(TRAPLINE_HC_ENTROPY), Ask(TRAPLINE_HC_ENTROPY));
}

TEST_F(Services, WaitAndShutdownEndTheRun) {
  EXPECT_EQ(Ask(TRAPLINE_HC_WAIT), 0);
  EXPECT_EQ(call_.outcome, engine::HypercallOutcome::kHalt);
  Ask(TRAPLINE_HC_SHUTDOWN, 7);
  EXPECT_EQ(call_.outcome, engine::HypercallOutcome::kExit);
  EXPECT_EQ(host_.ended, 7u);
}

TEST_F(Services, TheLedgersAnswersAreTheGuests) {
  EXPECT_EQ(Ask(TRAPLINE_HC_DIRECT_SITES, 0x1000, 0x20), 0);
  EXPECT_EQ(ledger_.direct, (std::pair<uint64_t, uint64_t>{0x1000, 0x20}));
  EXPECT_EQ(Ask(TRAPLINE_HC_DIRECT_SITES, 0x1000, 0), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_TECHNIQUE, TRAPLINE_TECHNIQUE_LINKED), 0);
  EXPECT_EQ(Ask(TRAPLINE_HC_TECHNIQUE, 9), -KVM_EINVAL);
}

TEST_F(Services, UpcallIsRegisteredForTheCaller) {
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0x200000, 0x1000), 0);
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0x200000, 0), 0);
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0, 0), 0);
  EXPECT_THAT(host_.upcalls,
              ElementsAre(std::array<uint64_t, 3>{2, 0x200000, 0x1000},
                          std::array<uint64_t, 3>{2, 0x200000, 0}, std::array<uint64_t, 3>{2}));
}

TEST_F(Services, UpcallChecksEntryAndInfo) {
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0x200000, 0x1020), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, uint64_t{1} << 47, 0x1000), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0x200000, host_.memory.size()), -KVM_EFAULT);
  EXPECT_EQ(Ask(TRAPLINE_HC_UPCALL, 0x200000, ~uint64_t{63}), -KVM_EFAULT);
  EXPECT_THAT(host_.upcalls, IsEmpty());
}

TEST_F(Services, TimerIsTheCallers) {
  EXPECT_EQ(Ask(TRAPLINE_HC_TIMER, 12345), 0);
  EXPECT_EQ(host_.timers[2], 12345u);
}

TEST_F(Services, VcpuStartEndsTheRunThatItWasAskedIn) {
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, 3, 0x200000, 0x300000, 7), 0);
  EXPECT_EQ(call_.outcome, engine::HypercallOutcome::kExit);
  ASSERT_EQ(host_.started.size(), 1u);
  EXPECT_EQ(host_.started[0].vcpu, 3u);
  EXPECT_EQ(host_.started[0].entry, 0x200000u);
  EXPECT_EQ(host_.started[0].stack, 0x300000u);
  EXPECT_EQ(host_.started[0].argument, 7u);
}

TEST_F(Services, VcpuStartChecksNumberAndAddresses) {
  constexpr uint64_t kNotCanonical = uint64_t{1} << 63;
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, 4, 0x200000, 0x300000), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, (uint64_t{1} << 32) + 3, 0x200000, 0x300000), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, 3, kNotCanonical, 0x300000), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, 3, 0x200000, kNotCanonical), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_VCPU_START, 2, 0x200000, 0x300000), -KVM_EPERM);
  EXPECT_EQ(call_.outcome, engine::HypercallOutcome::kServed);
  EXPECT_THAT(host_.started, IsEmpty());
}

TEST_F(Services, SendEventRaisesTheGuestsOwnAlone) {
  EXPECT_EQ(Ask(TRAPLINE_HC_SEND_EVENT, 1, 8), 0);
  EXPECT_EQ(Ask(TRAPLINE_HC_SEND_EVENT, 3, 63), 0);
  EXPECT_THAT(host_.raised, ElementsAre(std::pair<uint64_t, unsigned>{1, 8},
                                        std::pair<uint64_t, unsigned>{3, 63}));
  for (uint64_t event : {uint64_t{0}, uint64_t{7}, uint64_t{64}, (uint64_t{1} << 32) + 8})
    EXPECT_EQ(Ask(TRAPLINE_HC_SEND_EVENT, 1, event), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_SEND_EVENT, 4, 8), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_SEND_EVENT, (uint64_t{1} << 32) + 1, 8), -KVM_EINVAL);
  EXPECT_EQ(host_.raised.size(), 2u);
}

TEST_F(Services, ConsoleReadTakesWhatWasTyped) {
  host_.typed = "hello";
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_READ, 0x200, 4), 4);
  EXPECT_EQ(host_.At<uint32_t>(0x200), 0x6c6c6568u);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_READ, 0x200, 4096), 1);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_READ, 0x200, 4096), 0);
}

TEST_F(Services, ConsoleReadChecksLengthAndPlace) {
  host_.typed = "hello";
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_READ, 0x200, 4097), -KVM_E2BIG);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_READ, host_.memory.size() - 4, 5), -KVM_EFAULT);
  EXPECT_EQ(host_.typed, "hello");
}

TEST_F(Services, ConsolePutSaysTheLowBytes) {
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT, 0x6f6c6c6568, 5), 5);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT, 0x2121, 1), 1);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT, 0, 0), 0);
  EXPECT_EQ(host_.console, "hello!");
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT, 0, 9), -KVM_EINVAL);
  EXPECT_EQ(Ask(TRAPLINE_HC_CONSOLE_PUT, 0, ~uint64_t{0}), -KVM_EINVAL);
}

TEST_F(Services, AreThereForEachOfOurNumbersThatHasAName) {
  for (const guest::Hypercall& call : guest::Hypercalls()) {
    if (call.number >= TRAPLINE_HC_BASE) {
      EXPECT_NE(Ask(call.number), -KVM_ENOSYS) << call.name;
    }
  }
  EXPECT_EQ(Ask(guest::Hypercalls().back().number + 1), -KVM_ENOSYS);
}

}  // namespace
}  // namespace trapline::hypercall
