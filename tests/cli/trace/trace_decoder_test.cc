// SPDX-License-Identifier: Apache-2.0
// Packed responses: what is kept between them, and what is refused.
#include "cli/trace/trace_decoder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;

std::string Refused(const v1::StreamHypercallsResponse& response) {
  TraceDecoder decoder;
  const absl::StatusOr<TraceStep> step = decoder.Decode(response);
  EXPECT_EQ(step.status().code(), absl::StatusCode::kDataLoss);
  return std::string(step.status().message());
}

TEST(TraceDecoder, KnowsSitesAndDropsOfEarlierResponses) {
  TraceDecoder decoder;
  ASSERT_TRUE(decoder.Decode(Response({}, 5)).ok());
  v1::StreamHypercallsResponse more = Response({SendIpi(), SendIpi()}, 12);
  more.clear_sites();
  more.clear_start_time();
  const absl::StatusOr<TraceStep> step = decoder.Decode(more);
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->calls.size(), 2u);
  EXPECT_EQ(step->dropped, 7u);
  EXPECT_EQ(decoder.dropped(), 12u);
  EXPECT_FALSE(step->started_again);
  EXPECT_EQ(step->start, absl::FromUnixSeconds(kStartSeconds));
  EXPECT_EQ(decoder.sites().at(0).gpa, 0x1e3f0a7u);
}

TEST(TraceDecoder, NoticesThatTheGuestWasStartedAgain) {
  TraceDecoder decoder;
  ASSERT_TRUE(decoder.Decode(Response({SendIpi()})).ok());
  v1::StreamHypercallsResponse more = Response({SendIpi()});
  more.clear_start_time();
  EXPECT_FALSE(decoder.Decode(more)->started_again);
  v1::StreamHypercallsResponse again = Response({SendIpi()});  // and guest time goes on
  again.mutable_sites(0)->set_name("vms/debian/sites/0x1000");
  const absl::StatusOr<TraceStep> step = decoder.Decode(again);
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_TRUE(step->started_again);
  EXPECT_EQ(decoder.sites().at(0).gpa, 0x1000u);
}

TEST(TraceDecoder, RefusesWhatCannotBe) {
  v1::StreamHypercallsResponse response = Response({SendIpi()});
  response.mutable_packed()->pop_back();
  EXPECT_THAT(Refused(response), HasSubstr("72 bytes"));

  TracedCall call = SendIpi();
  call.path = 4;
  EXPECT_THAT(Refused(Response({call})), HasSubstr("path 4"));
  call = SendIpi();
  call.site = 1;
  EXPECT_THAT(Refused(Response({call})), HasSubstr("site 1"));

  response = Response({});
  response.mutable_sites(0)->set_index(1u << 31);
  EXPECT_THAT(Refused(response), HasSubstr("no site"));
  response = Response({});
  response.mutable_sites(0)->set_name("vms/debian");
  EXPECT_THAT(Refused(response), HasSubstr("vms/VM/sites/GPA"));
  response = Response({});
  response.mutable_start_time()->set_nanos(1'000'000'000);
  EXPECT_THAT(Refused(response), HasSubstr("no such time"));
}

TEST(TraceDecoder, RefusesDropsThatBecomeFewer) {
  TraceDecoder decoder;
  ASSERT_TRUE(decoder.Decode(Response({}, 5)).ok());
  EXPECT_EQ(decoder.Decode(Response({}, 4)).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace trapline::cli
