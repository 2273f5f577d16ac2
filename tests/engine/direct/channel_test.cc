// SPDX-License-Identifier: Apache-2.0
// The VMM's end of the shared memory, over guests that are threads here: polite ones, and others.
#include "core/engine/direct/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

namespace trapline::engine::direct {
namespace {

constexpr auto kGuest = static_cast<uint32_t>(Turn::kGuest);
constexpr auto kHost = static_cast<uint32_t>(Turn::kHost);

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() {
    auto channel = Channel::Create([this](std::string_view text) { console_.append(text); });
    EXPECT_TRUE(channel.ok()) << channel.status();
    channel_ = *std::move(channel);
    EXPECT_TRUE(channel_->Prepare(direct::Setup{}, {}, {}).ok());
  }
  ControlPage& control() { return channel_->control(); }
  RingRecord& Record(uint64_t index) {
    auto* page = reinterpret_cast<std::byte*>(&control());
    auto* ring = reinterpret_cast<RingRecord*>(page + (TRAPLINE_RING - TRAPLINE_CONTROL));
    return ring[index % TRAPLINE_RING_RECORDS];
  }
  // As the guest's side does.
  void Post(std::string_view text, uint64_t count) {
    std::atomic_ref head(control().ring_head);
    RingRecord& record = Record(head.load());
    std::memcpy(&record.bytes, text.data(), text.size());
    record.count = count;
    head.fetch_add(1);
  }
  void HandOver() {
    control().turn = kHost;
    if (control().host_sleeps != 0)
      syscall(SYS_futex, &control().turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  static bool Never() { return true; }

  std::string console_;
  std::unique_ptr<Channel> channel_;
};

TEST_F(ChannelTest, ASetupThatDoesNotFitIsRefused) {
  std::vector<Mapping> many(kMaxSetupSize / sizeof(Mapping));
  EXPECT_TRUE(absl::IsInvalidArgument(channel_->Prepare(direct::Setup{}, many, {})));
  many.pop_back();
  many.pop_back();
  EXPECT_TRUE(channel_->Prepare(direct::Setup{}, many, {}).ok());
}

TEST_F(ChannelTest, TheTurnGoesThereAndBack) {
  constexpr int kTurns = 1000;
  HandOver();
  std::thread guest([this] {
    for (int i = 0; i < kTurns; ++i) {
      while (control().turn.load() != kGuest) std::this_thread::yield();
      HandOver();
    }
  });
  for (int i = 0; i < kTurns; ++i) {
    channel_->PassTurn();
    EXPECT_TRUE(channel_->AwaitTurn(Never));
  }
  guest.join();
}

TEST_F(ChannelTest, WhatWasPostedIsTakenInOrder) {
  Post("hello, w", 8);
  Post("orld", 4);
  HandOver();
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  EXPECT_EQ(console_, "hello, world");
  EXPECT_EQ(control().ring_tail, 2u);
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  EXPECT_EQ(console_, "hello, world");
}

TEST_F(ChannelTest, TheRingGoesRound) {
  std::string all;
  for (int i = 0; i < 3 * TRAPLINE_RING_RECORDS; ++i) {
    std::string text = std::to_string(i);
    all += text;
    Post(text, text.size());
    if (i % 1000 == 0) {
      HandOver();
      EXPECT_TRUE(channel_->AwaitTurn(Never));
    }
  }
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  EXPECT_EQ(console_, all);
}

TEST_F(ChannelTest, ARecordHoldsEightBytesWhateverItSays) {
  Post("12345678", ~uint64_t{0});
  HandOver();
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  EXPECT_EQ(console_, "12345678");
}

TEST_F(ChannelTest, AHeadThatCannotBeIsNotBelieved) {
  for (uint64_t head : {uint64_t{TRAPLINE_RING_RECORDS} + 1, ~uint64_t{0}, uint64_t{1} << 63}) {
    control().ring_head = head;
    HandOver();
    EXPECT_TRUE(channel_->AwaitTurn(Never));
    EXPECT_EQ(console_, "");
    EXPECT_TRUE(channel_->Prepare(direct::Setup{}, {}, {}).ok());
  }
}

TEST_F(ChannelTest, TheTailIsTheVmmsOwn) {
  Post("one", 3);
  HandOver();
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  control().ring_tail = 12345;
  Post("two", 3);
  EXPECT_TRUE(channel_->AwaitTurn(Never));
  EXPECT_EQ(console_, "onetwo");
  EXPECT_EQ(control().ring_tail, 2u);
}

TEST_F(ChannelTest, TheEndOfTheProcessEndsTheWait) {
  std::thread watch([this] { channel_->End(); });
  EXPECT_FALSE(channel_->AwaitTurn(Never));
  watch.join();
  EXPECT_TRUE(channel_->ended());
}

TEST_F(ChannelTest, ASilentGuestIsAskedForOnceASecond) {
  EXPECT_FALSE(channel_->AwaitTurn([] { return false; }));
}

// Such a guest does not keep its VMM from noticing that it has not answered.
TEST_F(ChannelTest, AGuestThatPostsWithoutEndIsAskedForAllTheSame) {
  std::atomic<bool> done{false};
  std::thread guest([&] {
    std::atomic_ref head(control().ring_head), tail(control().ring_tail);
    while (!done) {
      if (head.load() - tail.load() < TRAPLINE_RING_RECORDS) head.fetch_add(1);
    }
  });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(channel_->AwaitTurn([] { return false; }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));  // not by luck
  done = true;
  guest.join();
}

}  // namespace
}  // namespace trapline::engine::direct
