// SPDX-License-Identifier: Apache-2.0
// The event ring.
#include "daemon/control/event_hub.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace trapline::daemon {

EventHub::EventHub()
    : passing_epoch_(absl::StrCat("passing-", absl::Hex(absl::ToUnixNanos(absl::Now())))),
      by_kind_(v1::VmEvent::Kind_ARRAYSIZE) {}

void EventHub::Restore(const std::string& epoch, std::vector<v1::VmEvent> past) {
  absl::MutexLock lock(&mutex_);
  epoch_ = epoch;
  // A number that is missing would make all behind it another event's.
  for (v1::VmEvent& event : past) {
    if (event.sequence() != last_ + 1) events_.clear();
    last_ = kept_ = event.sequence();
    events_.push_back(std::move(event));
  }
}

void EventHub::OnNews(std::function<void()> on_news) {
  absl::MutexLock lock(&mutex_);
  on_news_ = std::move(on_news);
}

void EventHub::Publish(const std::vector<v1::VmEvent>& events, bool kept) {
  {
    absl::MutexLock lock(&mutex_);
    for (const v1::VmEvent& event : events) {
      last_ = event.sequence();
      ++by_kind_[static_cast<size_t>(event.kind())];
      events_.push_back(event);
      if (events_.size() > kCapacity) events_.pop_front();
    }
    if (kept) kept_ = last_;
  }
  Nudge();
}

void EventHub::Nudge() {
  std::function<void()> on_news;
  {
    absl::MutexLock lock(&mutex_);
    on_news = on_news_;
  }
  on_news();
}

uint64_t EventHub::Last() const {
  absl::MutexLock lock(&mutex_);
  return last_;
}

std::vector<uint64_t> EventHub::PublishedByKind() const {
  absl::MutexLock lock(&mutex_);
  return by_kind_;
}

std::vector<v1::VmEvent> EventHub::Next(uint64_t* place,
                                        const std::function<bool(const v1::VmEvent&)>& wanted,
                                        size_t most, uint64_t* missed) const {
  std::vector<v1::VmEvent> found;
  absl::MutexLock lock(&mutex_);
  const uint64_t first = last_ - events_.size() + 1;
  if (*place + 1 < first) {
    *missed += first - *place - 1;
    *place = first - 1;
  }
  while (*place < last_ && found.size() < most) {
    const v1::VmEvent& event = events_[++*place - first];
    if (wanted(event)) found.push_back(event);
  }
  return found;
}

std::string EventHub::Token(uint64_t place) const {
  absl::MutexLock lock(&mutex_);
  return absl::StrCat(place <= kept_ ? epoch_ : passing_epoch_, ".", place);
}

absl::StatusOr<uint64_t> EventHub::Place(const std::string& token) const {
  size_t dot = token.find('.');
  uint64_t place;
  if (dot == std::string::npos || !absl::SimpleAtoi(token.substr(dot + 1), &place)) {
    return absl::InvalidArgumentError("not a token of this API's");
  }
  const std::string epoch = token.substr(0, dot);
  absl::MutexLock lock(&mutex_);
  if (epoch != epoch_ && epoch != passing_epoch_)
    return absl::OutOfRangeError(
        "the events that the token is of were not kept; list and watch from now on");
  if (place > last_) return absl::InvalidArgumentError("a token from the future");
  if (place + events_.size() < last_)
    return absl::OutOfRangeError("too long ago; list and watch from now on");
  return place;
}

}  // namespace trapline::daemon
