// SPDX-License-Identifier: Apache-2.0
// Clients that do not read: the daemon keeps nothing for them beyond what it keeps for all, and
// counts what they miss.
#include <gtest/gtest.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

#include "grpcpp/create_channel.h"
#include "tests/api/daemon_process.h"
#include "tests/load/process_use.h"

namespace trapline::daemon {
namespace {

// More events than the daemon keeps for those who come back (EventHub::kCapacity) and a stream's
// window holds together.
constexpr int kMoves = 10'000, kVms = 8, kWatchers = 100;
// Some tenth of what there would be if each watcher's events waited in the daemon.
constexpr size_t kMostGrowthKib = 30 << 10;

struct Watch {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::WatchVmEventsResponse>> stream;
};

class SlowClients : public ::testing::Test {
 protected:
  void StartVms() {
    for (int i = 0; i < kVms; ++i) {
      ASSERT_TRUE(daemon_.CreateIdleVm(Id(i), v1::ENGINE_SOFT).ok());
      ASSERT_TRUE(daemon_.StartVm(Id(i)).ok());
    }
  }
  // As many events, of all VMs at once.
  void Move(int times) {
    std::atomic<int> left{times};
    std::vector<std::thread> movers;
    for (int i = 0; i < kVms; ++i) {
      movers.emplace_back([&, id = Id(i)] {
        // Its two moves come in pairs, so that each begins with a VM that runs.
        while (left.fetch_sub(2) > 0) {
          grpc::ClientContext pausing, resuming;
          v1::PauseVmRequest pause;
          v1::ResumeVmRequest resume;
          v1::Vm vm;
          pause.set_name("vms/" + id);
          resume.set_name("vms/" + id);
          EXPECT_TRUE(daemon_.vms().PauseVm(&pausing, pause, &vm).ok());
          EXPECT_TRUE(daemon_.vms().ResumeVm(&resuming, resume, &vm).ok());
        }
      });
    }
    for (std::thread& mover : movers) mover.join();
  }
  // Whose windows stay as small as they begin.
  std::unique_ptr<v1::Vms::Stub> SlowStub() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return v1::Vms::NewStub(grpc::CreateCustomChannel(
        "unix:" + daemon_.directory() + "/d.sock", grpc::InsecureChannelCredentials(), arguments));
  }
  static std::string Id(int number) { return "idle-" + std::to_string(number); }

  DaemonProcess daemon_;
};

TEST_F(SlowClients, CostNoMemoryAndMissWhatIsCounted) {
  StartVms();
  const auto slow = SlowStub();
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < kWatchers; ++i) {
    watches.push_back(std::make_unique<Watch>());
    watches.back()->stream = slow->WatchVmEvents(&watches.back()->context, {});
    watches.back()->stream->WaitForInitialMetadata();
  }
  Move(kMoves / 10);  // by then the windows are full
  const Use before = UseOf(daemon_.pid());
  Move(kMoves - kMoves / 10);
  const Use after = UseOf(daemon_.pid());
  std::cout << before.memory_kib << " KiB before, " << after.memory_kib << " KiB after\n";
  EXPECT_LT(after.memory_kib, before.memory_kib + kMostGrowthKib);

  uint64_t seen = 0, missed = 0;
  v1::WatchVmEventsResponse response;
  while (seen + missed < kMoves && watches.front()->stream->Read(&response)) {
    seen += response.has_event() ? 1 : 0;
    missed += response.missed();
  }
  std::cout << seen << " seen, " << missed << " missed\n";
  EXPECT_EQ(seen + missed, uint64_t{kMoves});
  EXPECT_GT(missed, 0u);
  for (auto& watch : watches) watch->context.TryCancel();
}

}  // namespace
}  // namespace trapline::daemon
