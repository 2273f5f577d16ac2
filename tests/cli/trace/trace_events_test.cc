// SPDX-License-Identifier: Apache-2.0
// The Trace Event Format, read back by a JSON parser that is not ours.
#include "cli/trace/trace_events.h"

#include "core/guest/abi.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

using Fields = google::protobuf::Map<std::string, google::protobuf::Value>;

class Events : public ::testing::Test {
 protected:
  Events() : events_(Header()) { events_.Begin(text_); }

  static v1::TraceFileEntry::Header Header() {
    v1::TraceFileEntry::Header header;
    header.set_vm("vms/debian");
    header.set_engine("soft");
    header.set_cycles_per_second(2'000'000'000);
    return header;
  }
  void Take(const v1::StreamHypercallsResponse& response) {
    const absl::StatusOr<TraceStep> step = decoder_.Decode(response);
    ASSERT_TRUE(step.ok()) << step.status();
    events_.Take(*step, decoder_.sites(), text_);
  }
  // All of it: nothing is taken after this.
  const Fields& Document() {
    if (!document_.fields().empty()) return document_.fields();
    events_.End(text_);
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text_, &document_).ok()) << text_;
    return document_.fields();
  }
  // Of that phase.
  std::vector<Fields> Of(const std::string& phase) {
    std::vector<Fields> found;
    for (const auto& event : Document().at("traceEvents").list_value().values()) {
      if (event.struct_value().fields().at("ph").string_value() == phase)
        found.push_back(event.struct_value().fields());
    }
    return found;
  }

  TraceEvents events_;
  TraceDecoder decoder_;
  std::string text_;
  google::protobuf::Struct document_;
};

TEST_F(Events, AreASliceForEachCall) {
  TracedCall call = SendIpi();
  call.cycles = 3000;  // 1.5 us
  Take(Response({call}));
  const std::vector<Fields> slices = Of("X");
  ASSERT_EQ(slices.size(), 1u);
  Fields slice = slices[0];
  EXPECT_EQ(slice["name"].string_value(), "send_ipi");
  EXPECT_DOUBLE_EQ(slice["ts"].number_value(), 1'500'000 - 1.5);
  EXPECT_DOUBLE_EQ(slice["dur"].number_value(), 1.5);
  EXPECT_EQ(slice["pid"].number_value(), 1);
  EXPECT_EQ(slice["tid"].number_value(), 3);
  Fields arguments = slice["args"].struct_value().fields();
  EXPECT_EQ(arguments["arguments"].string_value(), "bitmap=0x6, min=1, icr=0xfd");
  EXPECT_EQ(arguments["result"].string_value(), "2");
  EXPECT_EQ(arguments["symbol"].string_value(), "kvm_send_ipi_mask+0x9c");
  EXPECT_EQ(arguments["cycles"].number_value(), 3000);
}

TEST_F(Events, NameTheVmAndItsVcpus) {
  TracedCall other = SendIpi();
  other.vcpu = 0;
  Take(Response({SendIpi(), other, SendIpi()}));
  std::vector<std::string> names;
  for (Fields metadata : Of("M"))
    names.push_back(metadata["args"].struct_value().fields().at("name").string_value());
  EXPECT_THAT(names, ::testing::ElementsAre("debian", "vcpu 2", "vcpu 0"));
}

TEST_F(Events, OfOneVcpuDoNotOverlap) {
  TracedCall first = SendIpi(), second = SendIpi();
  second.guest_ns = first.guest_ns + 10;
  second.cycles = 2000;  // 1 us, as it seems
  Take(Response({first, second}));
  std::vector<Fields> slices = Of("X");
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_NEAR(slices[1]["ts"].number_value(), 1'500'000, 1e-6);
  EXPECT_NEAR(slices[1]["dur"].number_value(), 0.01, 1e-6);
}

TEST_F(Events, GoOnBehindARestartAndTellOfDrops) {
  Take(Response({SendIpi()}));
  v1::StreamHypercallsResponse again = ResponseAfter(60, {SendIpi()});
  again.set_dropped(12);
  Take(again);
  std::vector<Fields> slices = Of("X"), marks = Of("i");
  EXPECT_NEAR(slices[1]["ts"].number_value(), 61'500'000, 1);
  ASSERT_EQ(marks.size(), 2u);
  EXPECT_EQ(marks[0]["name"].string_value(), "started again");
  EXPECT_EQ(marks[1]["name"].string_value(), "12 dropped");
  EXPECT_EQ(document_.fields().at("otherData").struct_value().fields().at("dropped").string_value(),
            "12");
}

TEST_F(Events, QuoteWhatAGuestSays) {
  v1::StreamHypercallsResponse response = Response({SendIpi()});
  response.mutable_sites(0)->set_symbol("\"},{\n");
  TracedCall put = SendIpi();
  put.number = TRAPLINE_HC_CONSOLE_PUT;
  put.arguments[0] = 0x5c22;  // a quote and a backslash
  put.arguments[1] = 2;
  response.set_packed(&put, sizeof put);
  Take(response);
  Fields arguments = Of("X")[0]["args"].struct_value().fields();
  EXPECT_EQ(arguments["symbol"].string_value(), "\"},{\n");
  EXPECT_EQ(arguments["arguments"].string_value(), R"(bytes="\"\\", count=2)");
}

TEST_F(Events, OfAnEmptyTraceAreADocument) {
  EXPECT_EQ(Of("M").size(), 1u);
  EXPECT_TRUE(Of("X").empty());
}

TEST_F(Events, BearNonsense) {
  TracedCall call = SendIpi();
  call.guest_ns = UINT64_MAX;
  call.cycles = UINT32_MAX;
  call.vcpu = UINT16_MAX;
  v1::StreamHypercallsResponse far = ResponseAfter(200'000'000'000, {call, SendIpi()});
  Take(Response({call, SendIpi(), call}));
  Take(far);
  for (Fields slice : Of("X")) EXPECT_GE(slice["dur"].number_value(), 0);
}

}  // namespace
}  // namespace trapline::cli
