// SPDX-License-Identifier: Apache-2.0
// One thread for many streams that send what they find in a stats file, or wait for events.
//
// A stream says when it next has something to do and is run then, or when it is woken: by gRPC, as
// a write is done or the client gone. So a slow client costs memory of its own and nobody's time.
// Where it looks on, the thread gives way to others (nice): that shall not take from what is looked
// at.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/server_callback.h"

namespace trapline::daemon {

// Thread-safe.
class StreamPump {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // On the pump's thread: does what is due; when it wants to be run again.
    virtual absl::Time Run(absl::Time now) = 0;
  };

  enum class Kind { kPrompt, kLookingOn };

  explicit StreamPump(Kind kind);
  // No stream is left.
  ~StreamPump();

  void Add(Stream* stream);  // to be run at once
  // Waits until the stream is not being run; it never is again.
  void Remove(Stream* stream);
  // Runs the stream soon; nothing where it was removed.
  void Wake(Stream* stream);
  void WakeAll();

 private:
  void Serve(Kind kind);

  absl::Mutex mutex_;
  std::map<Stream*, absl::Time> streams_ ABSL_GUARDED_BY(mutex_);  // when each is due
  Stream* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// A server's stream that a pump runs: everything below happens on the pump's thread, as gRPC's own
// are few and must not be kept. First Open; then Advance whenever no write is under way, and Busy
// while one is; last Close.
template <typename Response, typename Reactor = grpc::ServerWriteReactor<Response>>
class PumpedStream : public Reactor, public StreamPump::Stream {
 public:
  explicit PumpedStream(std::shared_ptr<StreamPump> pump) : pump_(std::move(pump)) {}

  void Begin() { pump_->Add(this); }

  absl::Time Run(absl::Time now) final {
    {
      absl::MutexLock lock(&mutex_);
      if (finished_) return absl::InfiniteFuture();
      if (gone_ && !writing_) ended_ = grpc::Status::CANCELLED;
    }
    if (ended_) return Finish();
    if (!opened_) {
      const std::optional<grpc::Status> status = Open();
      if (!status) return absl::InfiniteFuture();
      if (!status->ok()) return End(*status);
      opened_ = true;
      this->StartSendInitialMetadata();
    }
    return writing() ? Busy(now) : Advance(now);
  }
  void OnSendInitialMetadataDone(bool) final {}
  void OnWriteDone(bool ok) final {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      gone_ = gone_ || !ok;
    }
    pump_->Wake(this);
  }
  void OnCancel() final {
    {
      absl::MutexLock lock(&mutex_);
      gone_ = true;
    }
    pump_->Wake(this);
  }
  void OnDone() final {
    pump_->Remove(this);
    delete this;
  }

 protected:
  // For what outlives the stream, and wakes it if it is still there.
  const std::shared_ptr<StreamPump>& pump() { return pump_; }
  // Sends what `response_` holds; it is not to be touched until the next Advance.
  void Send() {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = true;
    }
    this->StartWrite(&response_);
  }
  // The stream ends as soon as what was sent is written.
  absl::Time End(grpc::Status status) {
    ended_ = std::move(status);
    return absl::InfinitePast();
  }
  // What is wrong with the request; nullopt: not known yet, and asked for again when it is woken.
  virtual std::optional<grpc::Status> Open() = 0;
  virtual absl::Time Advance(absl::Time now) = 0;
  virtual absl::Time Busy(absl::Time now) = 0;
  virtual void Close() {}

  Response response_;

 private:
  bool writing() {
    absl::MutexLock lock(&mutex_);
    return writing_;
  }
  absl::Time Finish() {
    if (writing()) return absl::InfiniteFuture();
    Close();
    {
      absl::MutexLock lock(&mutex_);
      finished_ = true;
    }
    Reactor::Finish(*ended_);
    return absl::InfiniteFuture();
  }

  const std::shared_ptr<StreamPump> pump_;
  // The pump's thread alone.
  std::optional<grpc::Status> ended_;
  bool opened_ = false;
  absl::Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace trapline::daemon
