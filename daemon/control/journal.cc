// SPDX-License-Identifier: Apache-2.0
// Batches, and what is owed.
#include "daemon/control/journal.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/common/convert.h"
#include "daemon/common/logging.h"

namespace trapline::daemon {
namespace {

constexpr absl::Duration kTryAgain = absl::Seconds(1);

template <typename T>
void Append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}
void Append(StoreChange& to, const StoreChange& more) {
  Append(to.put, more.put);
  Append(to.erase, more.erase);
  Append(to.events, more.events);
}

void Number(std::vector<v1::VmEvent>& events, uint64_t* last) {
  for (v1::VmEvent& event : events) {
    event.set_sequence(++*last);
    if (!event.has_time()) *event.mutable_time() = Now();
  }
}

// The newest record of each VM, and as many events as are kept.
void Trim(StoreChange& owed) {
  std::vector<record::v1::VmRecord> newest;
  for (auto record = owed.put.rbegin(); record != owed.put.rend(); ++record) {
    auto same = [&](const record::v1::VmRecord& other) {
      return other.vm().name() == record->vm().name();
    };
    if (std::none_of(newest.begin(), newest.end(), same)) newest.push_back(std::move(*record));
  }
  owed.put = std::move(newest);
  if (owed.events.size() > Store::kEventsKept)
    owed.events.erase(owed.events.begin(), owed.events.end() - Store::kEventsKept);
}

}  // namespace

absl::StatusOr<StoredRecords> Journal::Load() {
  auto events = store_->Events();
  if (!events.ok()) return events.status();
  hub_.Restore(store_->epoch(), *std::move(events));
  last_ = hub_.Last();
  return store_->Records();
}

absl::Status Journal::Commit(StoreChange change, std::function<void()> before_told) {
  return Submit({std::move(change), true, std::move(before_told)});
}

void Journal::Note(StoreChange change) { Submit({std::move(change), false, {}}).IgnoreError(); }

absl::Status Journal::Submit(Entry entry) {
  std::vector<Entry*> batch;
  {
    absl::MutexLock lock(&mutex_);
    waiting_.push_back(&entry);
    auto my_turn = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return entry.done || !writing_; };
    mutex_.Await(absl::Condition(&my_turn));
    if (entry.done) return entry.status;
    writing_ = true;
    batch.swap(waiting_);
  }
  Write(batch);
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  for (Entry* other : batch) other->done = true;
  return entry.status;
}

void Journal::Write(const std::vector<Entry*>& batch) {
  StoreChange all = owed_;
  uint64_t last = last_;
  for (Entry* entry : batch) {
    Number(entry->change.events, &last);
    Append(all, entry->change);
  }
  const bool was_owed = !owed_.put.empty() || !owed_.events.empty();
  const absl::Status status = store_->Write(all);
  if (status.ok()) {
    owed_ = {};
  } else {
    // Only what has happened has a number.
    last = last_;
    for (Entry* entry : batch) {
      if (entry->must) {
        entry->status = status;
        continue;
      }
      Number(entry->change.events, &last);
      Append(owed_, entry->change);
    }
    Trim(owed_);
    if (!was_owed && !owed_.put.empty()) {
      Log(spdlog::level::err, "events go on but are not kept until there is room",
          {{"reason", std::string(status.message())}});
      later_.At(absl::Now() + kTryAgain, [this] { WriteAgain(); });
    }
  }
  last_ = last;
  for (Entry* entry : batch) {
    if (!entry->status.ok()) continue;
    if (entry->before_told) entry->before_told();
    hub_.Publish(entry->change.events, status.ok());
  }
  if (status.ok() && was_owed) hub_.Publish({}, true);
}

void Journal::WriteAgain() {
  Note({});
  bool owes;
  {
    absl::MutexLock lock(&mutex_);
    auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !writing_; };
    mutex_.Await(absl::Condition(&idle));
    owes = !owed_.put.empty() || !owed_.events.empty();
  }
  if (owes) {
    later_.At(absl::Now() + kTryAgain, [this] { WriteAgain(); });
  } else {
    Log(spdlog::level::info, "all events are kept again");
  }
}

}  // namespace trapline::daemon
