// SPDX-License-Identifier: Apache-2.0
// The pump's loop.
#include "daemon/control/stream_pump.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"

namespace trapline::daemon {
namespace {

constexpr int kNice = 5;

}  // namespace

StreamPump::StreamPump(Kind kind) : thread_([this, kind] { Serve(kind); }) {}

StreamPump::~StreamPump() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  thread_.join();
}

void StreamPump::Add(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_[stream] = absl::InfinitePast();
  news_ = true;
}

void StreamPump::Remove(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
  auto idle = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return running_ != stream; };
  mutex_.Await(absl::Condition(&idle));
}

void StreamPump::Wake(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  auto known = streams_.find(stream);
  if (known == streams_.end()) return;
  known->second = absl::InfinitePast();
  news_ = true;
}

void StreamPump::WakeAll() {
  absl::MutexLock lock(&mutex_);
  for (auto& [stream, when] : streams_) when = absl::InfinitePast();
  news_ = true;
}

void StreamPump::Serve(Kind kind) {
  if (kind == Kind::kLookingOn)
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
  absl::Time next = absl::InfiniteFuture();
  for (;;) {
    std::vector<Stream*> due;
    absl::Time now;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return news_ || ending_; };
      mutex_.AwaitWithDeadline(absl::Condition(&ready), next);
      if (ending_) return;
      news_ = false;
      now = absl::Now();
      for (auto& [stream, when] : streams_) {
        if (when <= now) due.push_back(stream);
      }
    }
    for (Stream* stream : due) {
      {
        absl::MutexLock lock(&mutex_);
        auto known = streams_.find(stream);
        if (known == streams_.end()) continue;
        // Who wakes it from here on wakes it for the next time.
        known->second = absl::InfiniteFuture();
        running_ = stream;
      }
      absl::Time again = stream->Run(now);
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
      auto known = streams_.find(stream);
      if (known != streams_.end()) known->second = std::min(known->second, again);
    }
    absl::MutexLock lock(&mutex_);
    next = absl::InfiniteFuture();
    for (const auto& [stream, when] : streams_) next = std::min(next, when);
  }
}

}  // namespace trapline::daemon
