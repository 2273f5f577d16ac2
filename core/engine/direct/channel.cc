// SPDX-License-Identifier: Apache-2.0
// Waiting, and taking what was posted while waiting.
#include "core/engine/direct/channel.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::engine::direct {
namespace {

// About what a sleep and a wake-up cost.
constexpr int kSpins = 400;
// A guest that posts is looked after so often, and for so many times after it was last found to.
constexpr long kLookAgain = 50'000;
constexpr int kLooks = 20;
constexpr uint64_t kMany = TRAPLINE_RING_RECORDS / 8;
constexpr std::chrono::seconds kTick{1};

}  // namespace

absl::StatusOr<std::unique_ptr<Channel>> Channel::Create(
    std::function<void(std::string_view)> console) {
  auto area = SharedArea::Create("trapline-vcpu", kSetupOffset + kMaxSetupSize);
  if (!area.ok()) return area.status();
  return std::unique_ptr<Channel>(new Channel(*std::move(area), std::move(console)));
}

absl::Status Channel::Prepare(Setup setup, std::span<const Mapping> mappings,
                              std::span<const Gap> gaps) {
  if (sizeof setup + mappings.size_bytes() + gaps.size_bytes() > kMaxSetupSize)
    return absl::InvalidArgumentError(absl::StrCat(mappings.size(), " mappings are too many"));
  memset(area_->data(), 0, sizeof(ControlPage));
  tail_ = 0;
  ended_ = false;
  setup.mappings = static_cast<uint32_t>(mappings.size());
  setup.gaps = static_cast<uint32_t>(gaps.size());
  std::byte* to = area_->data() + kSetupOffset;
  memcpy(to, &setup, sizeof setup);
  to = std::ranges::copy(std::as_bytes(mappings), to + sizeof setup).out;
  std::ranges::copy(std::as_bytes(gaps), to);
  return absl::OkStatus();
}

void Channel::PassTurn() {
  ControlPage& c = control();
  c.turn.store(static_cast<uint32_t>(Turn::kGuest));
  if (c.guest_sleeps.load() != 0) syscall(SYS_futex, &c.turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// Ticks go by the clock, not by sleeps that nothing ended: a guest can end every sleep, by posting
// or by waking whoever waits on the word.
bool Channel::AwaitTurn(absl::FunctionRef<bool()> tick) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < kSpins && !HostsTurn(); ++i) __builtin_ia32_pause();
  int looks = 0;
  for (Clock::time_point due = Clock::now() + kTick; !HostsTurn();) {
    if (Clock::time_point now = Clock::now(); now >= due) {
      if (!tick()) return false;
      due = now + kTick;
    }
    uint64_t taken = TakePosted();
    if (taken > 0) looks = kLooks;
    if (taken > kMany) continue;
    bool again = looks > 0;
    looks -= again ? 1 : 0;
    Sleep(again ? Sleep::kForAWhile : Sleep::kForGood);
  }
  TakePosted();
  return !ended_;
}

// The guest process looks at host_sleeps behind each record and each turn that it hands over, so
// one of the two notices.
void Channel::Sleep(enum Sleep how) {
  ControlPage& c = control();
  timespec timeout{how == Sleep::kForGood ? kTick.count() : 0,
                   how == Sleep::kForGood ? 0 : kLookAgain};
  c.host_sleeps.store(static_cast<uint32_t>(how));
  if (how != Sleep::kForGood || Posted() == 0)
    syscall(SYS_futex, &c.turn, FUTEX_WAIT, static_cast<uint32_t>(Turn::kGuest), &timeout, nullptr,
            0);
  c.host_sleeps.store(static_cast<uint32_t>(Sleep::kAwake));
}

void Channel::End() {
  ended_ = true;
  ControlPage& c = control();
  c.turn.store(kHostsTurn);
  syscall(SYS_futex, &c.turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

uint64_t Channel::Posted() {
  uint64_t posted = std::atomic_ref(control().ring_head).load() - tail_;
  if (posted <= TRAPLINE_RING_RECORDS) return posted;
  tail_ += posted;  // nobody who plays by the rules gets that far ahead
  return 0;
}

uint64_t Channel::TakePosted() {
  uint64_t posted = Posted();
  if (posted == 0) return 0;
  const auto* ring =
      reinterpret_cast<const RingRecord*>(area_->data() + (TRAPLINE_RING - TRAPLINE_CONTROL));
  text_.clear();
  for (uint64_t i = 0; i < posted; ++i) {
    RingRecord record = ring[(tail_ + i) % TRAPLINE_RING_RECORDS];
    text_.append(reinterpret_cast<const char*>(&record.bytes),
                 std::min<uint64_t>(record.count, sizeof record.bytes));
  }
  tail_ += posted;
  std::atomic_ref(control().ring_tail).store(tail_, std::memory_order_release);
  if (!text_.empty()) console_(text_);
  return posted;
}

}  // namespace trapline::engine::direct
