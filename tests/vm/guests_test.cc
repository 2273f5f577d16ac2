// SPDX-License-Identifier: Apache-2.0
// The example guests, run to their ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/guest/compute_kernels.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Guests : public ::testing::TestWithParam<EngineKind> {
 protected:
  static VmConfig Config(const std::string& name, const std::string& command_line = "") {
    return GuestConfig(name, command_line, 1, GetParam());
  }
};

TEST_P(Guests, HelloGreetsAndSwitchesOff) {
  RunningVm guest(Config("hello"));
  ASSERT_TRUE(guest.made().ok()) << guest.made();
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.output(),
              HasSubstr("hello from a guest on 1 vCPU(s) with 64 MiB\nhello by hypercall\n"));
  EXPECT_EQ(guest.vm().state(), State::kStopped);
  EXPECT_EQ(guest.vm().exit_status(), -1);
}

TEST_P(Guests, AStatusComesBackAsIsaDebugExitWouldGiveIt) {
  RunningVm guest(Config("hello", "status=21"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().exit_status(), 21 << 1 | 1);
}

// The kernels are compiled into this test as well.
TEST_P(Guests, ComputeGivesWhatAnOrdinaryProcessGets) {
  RunningVm guest(Config("compute", "runs=1 rounds=1"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  for (const ComputeKernel& kernel : kComputeKernelTable) {
    EXPECT_THAT(guest.output(),
                ContainsRegex(absl::StrCat("(^|\n)", kernel.name, ": cycles [1-9][0-9]* ns ",
                                           "[1-9][0-9]* sum ", kernel.run(1), "\n")));
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Guests, ::testing::ValuesIn(TestedEngines()), EngineName);

// It writes its own code, which `direct` does not have.
TEST(PatchTorture, ThePatcherSurvivesIt) {
  RunningVm guest(GuestConfig("patch_torture"));
  ASSERT_TRUE(guest.made().ok()) << guest.made();
  EXPECT_EQ(guest.vm().engine(), EngineKind::kSoft);
  EXPECT_THAT(guest.vm().engine_reason(),
              ContainsRegex("not direct: the segment at 0x[0-9a-f]+ is executable and writable"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.output(), HasSubstr("patch_torture: all passed"));
  EXPECT_THAT(guest.output(), Not(HasSubstr("FAIL")));
}

TEST(PatchTorture, IsRefusedByDirect) {
  RunningVm guest(GuestConfig("patch_torture", "", 1, EngineKind::kDirect));
  EXPECT_TRUE(absl::IsInvalidArgument(guest.made()));
  EXPECT_THAT(
      std::string(guest.made().message()),
      ContainsRegex("direct: the segment at 0x[0-9a-f]+ is executable and writable.*engine soft"));
}

// A guest on an engine with so many vCPUs.
class OnEngines : public ::testing::TestWithParam<std::tuple<EngineKind, uint32_t>> {
 protected:
  static VmConfig Config(const std::string& name, const std::string& command_line) {
    return GuestConfig(name, command_line, std::get<1>(GetParam()), std::get<0>(GetParam()));
  }
};

class Smp : public OnEngines {};

TEST_P(Smp, AllVcpusShareOneSiteAndEveryCallIsAnswered) {
  RunningVm guest(Config("smp", ""));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.output(), HasSubstr("calls, 0 wrong"));
  EXPECT_EQ(guest.vm().exit_status(), -1) << guest.output();
}

INSTANTIATE_TEST_SUITE_P(Vcpus, Smp,
                         ::testing::Combine(::testing::ValuesIn(TestedEngines()),
                                            ::testing::Values(1, 2, 4, 8)));

class Events : public OnEngines {};

TEST_P(Events, ArriveAsTheAbiSays) {
  RunningVm guest(Config("events", "once"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.output(), HasSubstr("events: all passed"));
  EXPECT_THAT(guest.output(), Not(HasSubstr("FAIL")));
}

INSTANTIATE_TEST_SUITE_P(Vcpus, Events,
                         ::testing::Combine(::testing::ValuesIn(TestedEngines()),
                                            ::testing::Values(1, 2, 4, 8)));

}  // namespace
}  // namespace trapline::vm
