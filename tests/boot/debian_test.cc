// SPDX-License-Identifier: Apache-2.0
// Debian's own cloud kernel boots to a shell, and its hypercall sites are found and rewritten.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/hypercall/stats_reader.h"
#include "tests/boot/debian.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

TEST(Debian, SwitchesItselfOffOnOneVcpu) {
  RunningVm guest(DebianConfig(1, "trapline.poweroff"));
  ASSERT_TRUE(guest.made().ok()) << guest.made()
                                 << "; deploy/debian-guest.sh build/guest fetches the images";
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("init: first line"));
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kStopped);
}

TEST(Debian, BootsToAShellOnFourVcpusAndItsSitesGetHot) {
  VmConfig config = DebianConfig(4);
  config.policy.linked_after = 2;  // most of its interrupts go by shorthand, not by hypercall
  config.stats_path =
      std::filesystem::temp_directory_path() / ("trapline-debian-" + std::to_string(getpid()));
  RunningVm guest(config);
  ASSERT_TRUE(guest.made().ok()) << guest.made()
                                 << "; deploy/debian-guest.sh build/guest fetches the images";
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("guest# ")) << guest.output();
  EXPECT_THAT(guest.output(), HasSubstr("on 4 vCPUs"));
  ASSERT_TRUE(guest.vm().WriteConsole("ipis 200\n").ok());
  ASSERT_TRUE(guest.AwaitOutput("rounds done")) << guest.output();

  auto reader = hypercall::StatsReader::Open(config.stats_path);
  ASSERT_TRUE(reader.ok());
  guest.vm().SymbolizeSites();
  bool send_ipi = false, linked = false;
  for (const hypercall::SiteView& site : (*reader)->Sites()) {
    EXPECT_EQ(site.cpl, 0);
    EXPECT_THAT(site.symbol, HasSubstr("+0x"));
    linked = linked || (site.state == hypercall::SiteState::kLinked && site.fast_calls() > 0);
    for (const hypercall::NumberCount& number : site.numbers)
      send_ipi = send_ipi || number.number == 10;
  }
  EXPECT_TRUE(send_ipi);
  EXPECT_TRUE(linked);

  auto outcome = guest.vm().Stop(StopMode::kForced, absl::ZeroDuration());
  EXPECT_TRUE(outcome.ok());
  std::filesystem::remove(config.stats_path);
}

}  // namespace
}  // namespace trapline::vm
