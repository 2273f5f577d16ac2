// SPDX-License-Identifier: Apache-2.0
// A watch of events as a test reads it: one after the other, each within a minute.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {

class EventReader {
 public:
  // token: empty for what happens from now on.
  explicit EventReader(DaemonProcess& daemon, const std::string& token = "") {
    v1::WatchVmEventsRequest request;
    request.set_resume_token(token);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = daemon.vms().WatchVmEvents(&context_, request);
    stream_->WaitForInitialMetadata();
  }
  ~EventReader() {
    context_.TryCancel();
    if (stream_) stream_->Finish();
  }

  // An empty one where the stream has ended.
  v1::VmEvent Next() {
    v1::WatchVmEventsResponse response;
    do {
      response.Clear();
      if (!stream_->Read(&response)) return {};
      EXPECT_EQ(response.missed(), 0u);
      token_ = response.resume_token();
    } while (!response.has_event());
    return response.event();
  }
  // Up to and with the first of that kind.
  std::vector<v1::VmEvent> Until(v1::VmEvent::Kind kind) {
    std::vector<v1::VmEvent> events;
    do {
      events.push_back(Next());
    } while (events.back().kind() != kind && events.back().kind() != v1::VmEvent::KIND_UNSPECIFIED);
    EXPECT_EQ(events.back().kind(), kind) << "the watch ended";
    return events;
  }
  std::vector<v1::VmEvent::Kind> KindsUntil(v1::VmEvent::Kind kind) {
    std::vector<v1::VmEvent::Kind> kinds;
    for (const v1::VmEvent& event : Until(kind)) kinds.push_back(event.kind());
    return kinds;
  }
  grpc::Status End() { return std::exchange(stream_, nullptr)->Finish(); }
  // Of the last one.
  const std::string& token() const { return token_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchVmEventsResponse>> stream_;
  std::string token_;
};

}  // namespace trapline::daemon
