// SPDX-License-Identifier: Apache-2.0
// The event ring.
#include "daemon/control/event_hub.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "daemon/common/convert.h"

namespace trapline::daemon {

EventHub::EventHub()
    : epoch_(absl::StrCat(absl::Hex(absl::ToUnixNanos(absl::Now())))),
      by_kind_(v1::VmEvent::Kind_ARRAYSIZE) {}

void EventHub::Publish(v1::VmEvent event) {
  absl::MutexLock lock(&mutex_);
  event.set_sequence(++last_);
  ++by_kind_[static_cast<size_t>(event.kind())];
  *event.mutable_time() = Now();
  events_.push_back(std::move(event));
  if (events_.size() > kCapacity) events_.pop_front();
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
                                        absl::Duration timeout, uint64_t* missed) {
  std::vector<v1::VmEvent> found;
  absl::MutexLock lock(&mutex_);
  auto more = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return last_ > *place; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&more), timeout)) return found;
  uint64_t first = last_ - events_.size() + 1;
  if (*place + 1 < first) {
    *missed += first - *place - 1;
    *place = first - 1;
  }
  for (size_t i = *place + 1 - first; i < events_.size(); ++i) {
    if (wanted(events_[i])) found.push_back(events_[i]);
  }
  *place = last_;
  return found;
}

std::string EventHub::Token(uint64_t place) const { return absl::StrCat(epoch_, ".", place); }

absl::StatusOr<uint64_t> EventHub::Place(const std::string& token) const {
  size_t dot = token.find('.');
  uint64_t place;
  if (dot == std::string::npos || !absl::SimpleAtoi(token.substr(dot + 1), &place)) {
    return absl::InvalidArgumentError("not a token of this API's");
  }
  absl::MutexLock lock(&mutex_);
  if (token.substr(0, dot) != epoch_)
    return absl::OutOfRangeError("the daemon was started anew since; list and watch from now on");
  if (place > last_) return absl::InvalidArgumentError("a token from the future");
  if (place + events_.size() < last_)
    return absl::OutOfRangeError("too long ago; list and watch from now on");
  return place;
}

}  // namespace trapline::daemon
