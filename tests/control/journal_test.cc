// SPDX-License-Identifier: Apache-2.0
// Many writers, numbers without a gap, and tokens over a restart.
#include "daemon/control/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/common/scratch.h"

namespace trapline::daemon {
namespace {

struct Daemon {
  explicit Daemon(const std::string& path) : journal(*Store::Open(path), hub, later) {
    records = journal.Load()->records;
  }
  ~Daemon() { later.End(); }
  EventHub hub;
  DelayQueue later;
  Journal journal;
  std::vector<record::v1::VmRecord> records;
};

StoreChange Event(v1::VmEvent::Kind kind) {
  StoreChange change;
  change.events.emplace_back().set_kind(kind);
  return change;
}

TEST(Journal, ManyWritersShareNumbersWithoutAGap) {
  constexpr int kThreads = 8, kEach = 20;
  Scratch scratch;
  {
    Daemon daemon(scratch / "vms.sqlite");
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < kEach; ++j) {
          if (j % 2 == 0) {
            daemon.journal.Note(Event(v1::VmEvent::STARTED));
          } else {
            EXPECT_TRUE(daemon.journal.Commit(Event(v1::VmEvent::CREATED)).ok());
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(daemon.hub.Last(), uint64_t{kThreads * kEach});
  }
  Daemon next(scratch / "vms.sqlite");
  uint64_t place = 0, missed = 0, number = 0;
  for (const v1::VmEvent& event : next.hub.Next(
           &place, [](const auto&) { return true; }, EventHub::kCapacity, &missed))
    EXPECT_EQ(event.sequence(), ++number);
  EXPECT_EQ(number, uint64_t{kThreads * kEach});
  EXPECT_EQ(missed, 0u);
}

TEST(Journal, ATokenIsGoodForTheNextDaemonAndForNoOtherState) {
  Scratch scratch, other;
  std::string token;
  {
    Daemon daemon(scratch / "vms.sqlite");
    daemon.journal.Note(Event(v1::VmEvent::STARTED));
    token = daemon.hub.Token(1);
  }
  Daemon next(scratch / "vms.sqlite"), stranger(other / "vms.sqlite");
  stranger.journal.Note(Event(v1::VmEvent::STARTED));
  EXPECT_EQ(*next.hub.Place(token), 1u);
  EXPECT_TRUE(absl::IsOutOfRange(stranger.hub.Place(token).status()));
}

TEST(EventHub, ATokenOfEventsThatWereNotKeptDiesWithTheDaemon) {
  EventHub hub, next;
  v1::VmEvent event;
  hub.Restore("epoch", {});
  next.Restore("epoch", {});
  event.set_sequence(1);
  hub.Publish({event}, false);
  next.Publish({event}, true);
  const std::string token = hub.Token(1);
  EXPECT_EQ(*hub.Place(token), 1u);
  EXPECT_TRUE(absl::IsOutOfRange(next.Place(token).status())) << "another event has that number";
  hub.Publish({}, true);
  EXPECT_EQ(*next.Place(hub.Token(1)), 1u) << "kept by now";
}

}  // namespace
}  // namespace trapline::daemon
