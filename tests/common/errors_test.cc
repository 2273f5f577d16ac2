// SPDX-License-Identifier: Apache-2.0
// What clients hear of a worker that did not answer.
#include "daemon/common/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/common/error_info.h"

namespace trapline::daemon {
namespace {

TEST(FromWorker, WhatTheWorkerSaidIsPassedOn) {
  const grpc::Status said =
      Error(grpc::FAILED_PRECONDITION, "VM_NOT_MADE", "the worker has no VM yet");
  EXPECT_EQ(FromWorker(said, "a").error_details(), said.error_details());
  EXPECT_TRUE(FromWorker(grpc::Status::OK, "a").ok());
}

TEST(FromWorker, WhatGrpcSaidInItsPlaceIsExplained) {
  const struct {
    grpc::StatusCode code, told;
    const char* reason;
  } cases[] = {
      {grpc::DEADLINE_EXCEEDED, grpc::DEADLINE_EXCEEDED, "WORKER_SLOW"},
      {grpc::RESOURCE_EXHAUSTED, grpc::RESOURCE_EXHAUSTED, "WORKER_THREADS"},
      {grpc::UNAVAILABLE, grpc::UNAVAILABLE, "WORKER_LOST"},
  };
  for (const auto& [code, told, reason] : cases) {
    const grpc::Status status = FromWorker(grpc::Status(code, ""), "a");
    EXPECT_EQ(status.error_code(), told);
    EXPECT_EQ(InfoOf(status).reason(), reason);
    EXPECT_EQ(InfoOf(status).metadata().at("vm"), "a");
  }
}

}  // namespace
}  // namespace trapline::daemon
