// SPDX-License-Identifier: Apache-2.0
// Traces: every call shown or counted, both encodings, filters, the last calls on record, and VMs
// that are started again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstring>
#include <memory>

#include "core/guest/abi.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

constexpr size_t kPackedSize = 72;

class Traces : public ::testing::TestWithParam<v1::Engine> {
 protected:
  struct Seen {
    uint64_t calls = 0, dropped = 0, lives = 0;
    std::vector<v1::TraceRecord> records;
    std::vector<v1::TraceSite> sites;
    std::string packed;
    grpc::Status status;
  };
  struct Client {
    Client(DaemonProcess& daemon, const v1::StreamHypercallsRequest& request) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
      stream = daemon.traces().StreamHypercalls(&context, request);
      stream->WaitForInitialMetadata();
    }
    // One response. False: the stream has ended.
    bool Read() {
      v1::StreamHypercallsResponse response;
      if (!stream->Read(&response)) return false;
      seen.calls +=
          static_cast<uint64_t>(response.records_size()) + response.packed().size() / kPackedSize;
      EXPECT_GE(response.dropped(), seen.dropped);
      seen.dropped = response.dropped();
      seen.lives += response.has_start_time() ? 1 : 0;
      seen.packed += response.packed();
      for (const auto& record : response.records()) seen.records.push_back(record);
      for (const auto& site : response.sites()) seen.sites.push_back(site);
      return true;
    }
    Seen ReadAll() {
      while (Read()) {
      }
      seen.status = stream->Finish();
      return seen;
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::StreamHypercallsResponse>> stream;
    Seen seen;
  };

  static v1::StreamHypercallsRequest Request() {
    v1::StreamHypercallsRequest request;
    request.set_parent("vms/a");
    return request;
  }
  void Create(const std::string& command_line) {
    ASSERT_TRUE(daemon_.CreateVm("a", "many_sites", command_line, GetParam()).ok());
  }
  // Calls at all sites, which the guest's own few are among.
  uint64_t CallsMade() {
    v1::GetSiteTotalsRequest request;
    request.set_parent("vms/a");
    v1::SiteTotals totals;
    grpc::ClientContext context;
    EXPECT_TRUE(daemon_.sites().GetSiteTotals(&context, request, &totals).ok());
    return totals.traps() + totals.fast_calls();
  }

  DaemonProcess daemon_;
};

INSTANTIATE_TEST_SUITE_P(Engines, Traces, ::testing::Values(v1::ENGINE_SOFT, v1::ENGINE_DIRECT),
                         [](const auto& info) {
                           return info.param == v1::ENGINE_SOFT ? "Soft" : "Direct";
                         });

TEST_P(Traces, EveryCallIsShownOrCountedAsDropped) {
  Create("sites=20 rounds=10000");
  for (auto encoding : {v1::TRACE_ENCODING_RECORDS, v1::TRACE_ENCODING_PACKED}) {
    auto request = Request();
    request.set_encoding(encoding);
    uint64_t before = CallsMade();
    request.set_follow(before != 0);
    Client client(daemon_, request);
    ASSERT_TRUE(daemon_.StartVm("a").ok());
    daemon_.AwaitVm("a", v1::Vm::STOPPED);
    uint64_t made = CallsMade() - before;
    EXPECT_GE(made, 200'000u);
    while (client.seen.calls + client.seen.dropped < made) ASSERT_TRUE(client.Read());
    EXPECT_EQ(client.seen.calls + client.seen.dropped, made);
    EXPECT_GT(client.seen.calls, 0u);
  }
}

TEST_P(Traces, APackedRecordIsTheSameCall) {
  Create("sites=3 rounds=1");
  auto request = Request();
  Client records(daemon_, request);
  request.set_encoding(v1::TRACE_ENCODING_PACKED);
  Client packed(daemon_, request);
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  Seen plain = records.ReadAll(), dense = packed.ReadAll();
  EXPECT_TRUE(plain.status.ok()) << plain.status.error_message();
  ASSERT_EQ(plain.dropped, 0u);
  ASSERT_EQ(dense.dropped, 0u);
  ASSERT_EQ(plain.calls, dense.calls);
  for (size_t i = 0; i < plain.records.size(); ++i) {
    const v1::TraceRecord& record = plain.records[i];
    const char* bytes = dense.packed.data() + i * kPackedSize;
    auto word = [&](size_t at) {
      uint64_t value;
      std::memcpy(&value, bytes + at, sizeof value);
      return value;
    };
    uint32_t site, cycles;
    uint16_t vcpu;
    std::memcpy(&site, bytes + 56, sizeof site);
    std::memcpy(&cycles, bytes + 60, sizeof cycles);
    std::memcpy(&vcpu, bytes + 64, sizeof vcpu);
    EXPECT_EQ(word(0), static_cast<uint64_t>(record.guest_time().seconds()) * 1'000'000'000 +
                           static_cast<uint64_t>(record.guest_time().nanos()));
    EXPECT_EQ(word(8), record.number());
    if (record.arguments_size() > 0) {
      EXPECT_EQ(word(16), record.arguments(0));
    }
    EXPECT_EQ(static_cast<int64_t>(word(48)), record.result());
    EXPECT_EQ(cycles, record.cycles());
    EXPECT_EQ(vcpu, record.vcpu());
    EXPECT_EQ(bytes[66], record.path());
    // What was told last is what holds.
    auto known = std::find_if(dense.sites.rbegin(), dense.sites.rend(),
                              [&](const auto& s) { return s.index() == site; });
    ASSERT_NE(known, dense.sites.rend());
    EXPECT_EQ(known->name(), record.site());
    EXPECT_EQ(known->gva(), record.gva());
    EXPECT_EQ(known->symbol(), record.symbol());
    EXPECT_NE(known->symbol(), "");
  }
}

TEST_P(Traces, OnlyWhatTheFilterLetsThroughIsSent) {
  Create("sites=5 rounds=10");
  auto request = Request();
  request.mutable_filter()->add_numbers(TRAPLINE_HC_CLOCK);
  Client client(daemon_, request);
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  Seen seen = client.ReadAll();
  ASSERT_EQ(seen.calls, 2u);
  for (const auto& record : seen.records) EXPECT_EQ(record.number(), TRAPLINE_HC_CLOCK);
}

TEST_P(Traces, TheLastCallsOfAVmThatNobodyTracedAreOnRecord) {
  Create("sites=5 rounds=1");
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  daemon_.AwaitVm("a", v1::Vm::STOPPED);
  auto request = Request();
  {
    Client client(daemon_, request);
    Seen seen = client.ReadAll();
    EXPECT_EQ(seen.status.error_code(), grpc::FAILED_PRECONDITION);
  }
  request.set_last(4);
  Client client(daemon_, request);
  Seen seen = client.ReadAll();
  EXPECT_TRUE(seen.status.ok()) << seen.status.error_message();
  EXPECT_EQ(seen.calls, 4u);
  EXPECT_EQ(seen.dropped, 0u);
}

TEST_P(Traces, TheLastCallsOfAWorkerThatWasKilledAreOnRecord) {
  Create("sites=5 rounds=1 seconds=600 rate=1000");
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  while (CallsMade() < 100) {
  }
  for (pid_t worker : daemon_.Children("trapline-vmm")) kill(worker, SIGKILL);
  daemon_.AwaitVm("a", v1::Vm::FAILED);
  auto request = Request();
  request.set_last(10);
  Client client(daemon_, request);
  Seen seen = client.ReadAll();
  EXPECT_TRUE(seen.status.ok()) << seen.status.error_message();
  EXPECT_EQ(seen.calls, 10u);
}

TEST_P(Traces, AFollowerOfAVmThatIsDeletedWhileItRunsIsDone) {
  Create("sites=2 rounds=1 seconds=600 rate=10");
  auto request = Request();
  request.set_follow(true);
  Client client(daemon_, request);
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  ASSERT_TRUE(client.Read());
  ASSERT_TRUE(daemon_.DeleteVm("a").ok());
  EXPECT_TRUE(client.ReadAll().status.ok());
}

TEST_P(Traces, AFollowerSeesTheVmStartedAgain) {
  Create("sites=2 rounds=1");
  auto request = Request();
  request.set_follow(true);
  Client client(daemon_, request);
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  daemon_.AwaitVm("a", v1::Vm::STOPPED);
  while (client.seen.calls + client.seen.dropped < 4) ASSERT_TRUE(client.Read());
  uint64_t lives = client.seen.lives;
  // By another worker.
  for (pid_t worker : daemon_.Children("trapline-vmm")) kill(worker, SIGKILL);
  daemon_.AwaitVm("a", v1::Vm::FAILED);
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  while (client.seen.calls + client.seen.dropped < 8) ASSERT_TRUE(client.Read());
  EXPECT_EQ(client.seen.calls, 8u);
  EXPECT_EQ(client.seen.dropped, 0u);
  EXPECT_GT(client.seen.lives, lives);
  ASSERT_TRUE(daemon_.DeleteVm("a").ok());
  EXPECT_TRUE(client.ReadAll().status.ok()) << "there is nothing to follow any more";
}

}  // namespace
}  // namespace trapline::daemon
