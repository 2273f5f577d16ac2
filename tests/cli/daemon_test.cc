// SPDX-License-Identifier: Apache-2.0
// The commands against a real traplined and real guests.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli_test {
namespace {

using google::protobuf::util::JsonStringToMessage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The guests' debug-exit status for "all is well": (value << 1) | 1 with the value 0x10.
constexpr int kGuestIsWell = 33;

TEST_F(WithDaemon, HostSaysWhatItCanDo) {
  const Result table = daemon_.Run({"host"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("soft"));
  EXPECT_THAT(table.out, HasSubstr("invalid opcode (#UD)")) << "of ud2";
  EXPECT_THAT(table.out, HasSubstr("SIGSEGV")) << "of int 0x1f";
  google::protobuf::Struct document;
  EXPECT_TRUE(JsonStringToMessage(daemon_.Run({"host", "-o", "json"}).out, &document).ok());
}

TEST_F(WithDaemon, WhatIsNotThereIsThree) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"vm", "show", "absent"},
           {"vm", "start", "absent"},
           {"vm", "console", "absent"},
           {"sites", "ls", "absent"},
           {"trace", "absent"},
           {"vm", "create", "x", "--kernel", "/nonexistent/kernel"}}) {
    const Result result = daemon_.Run(arguments);
    EXPECT_EQ(result.code, 3) << testing::PrintToString(arguments) << result.err;
    EXPECT_THAT(result.err, HasSubstr("trapline: "));
  }
}

TEST_F(WithDaemon, AMoveTheStateForbidsIsFourAndNamesBothStates) {
  Create("still", "greet");
  const Result text = daemon_.Run({"vm", "pause", "still"});
  EXPECT_EQ(text.code, 4) << text.err;
  EXPECT_THAT(text.err, HasSubstr("VM_WRONG_STATE"));
  const Result json = daemon_.Run({"vm", "pause", "still", "-o", "json"});
  EXPECT_EQ(json.code, 4);
  EXPECT_THAT(json.out, IsEmpty());
  google::protobuf::Struct document;
  ASSERT_TRUE(JsonStringToMessage(json.err, &document).ok()) << json.err;
  const auto& error = document.fields().at("error").struct_value().fields();
  EXPECT_EQ(error.at("status").string_value(), "FAILED_PRECONDITION");
  const auto& detail = error.at("details").list_value().values(0).struct_value().fields();
  EXPECT_EQ(detail.at("metadata").struct_value().fields().count("current"), 1u);
}

TEST_F(WithDaemon, ListsAreTheApisJson) {
  Create("one", "greet");
  Create("two", "greet", {"--vcpus", "2"});
  const Result names = daemon_.Run({"vm", "ls", "-o", "name"});
  EXPECT_EQ(names.out, "one\ntwo\n");
  v1::ListVmsResponse list;
  ASSERT_TRUE(JsonStringToMessage(daemon_.Run({"vm", "ls", "-o", "json"}).out, &list).ok());
  ASSERT_EQ(list.vms_size(), 2);
  EXPECT_EQ(list.vms(1).name(), "vms/two");
  EXPECT_EQ(list.vms(1).spec().vcpus(), 2u);
  EXPECT_EQ(list.vms(1).spec().memory_bytes(), uint64_t{64} << 20);
  v1::Vm vm;
  ASSERT_TRUE(JsonStringToMessage(daemon_.Run({"vm", "show", "two", "-o", "json"}).out, &vm).ok());
  EXPECT_EQ(vm.state(), v1::Vm::CREATED);
  EXPECT_NE(vm.engine_reason(), "");
  const std::string shown = daemon_.Run({"vm", "show", "two"}).out;
  EXPECT_THAT(shown, HasSubstr("created"));
  EXPECT_THAT(shown, HasSubstr(vm.engine_reason()));
  EXPECT_EQ(vm.confinement().measures_size(), 6);
  EXPECT_THAT(shown, HasSubstr("privileges: no capabilities, no new privileges"));
  EXPECT_THAT(daemon_.Run({"vm", "ls"}).out, Not(HasSubstr("\033["))) << "colour is for terminals";
  EXPECT_EQ(daemon_.Run({"vm", "rm", "one", "two"}).code, 0);
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "");
}

TEST_F(WithDaemon, RunEndsWithTheGuestsStatusAndLeavesNothing) {
  const Result result = daemon_.Run({"run", Guest("greet"), "--memory", "64M"});
  EXPECT_EQ(result.code, kGuestIsWell) << result.err;
  EXPECT_THAT(result.out, HasSubstr("hello from the guest"));
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "");
}

TEST_F(WithDaemon, RunKeepsTheVmWhereAsked) {
  EXPECT_EQ(
      daemon_.Run({"run", Guest("greet"), "--memory", "64M", "--name", "kept", "--keep"}).code,
      kGuestIsWell);
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "kept\n");
  v1::Vm vm;
  ASSERT_TRUE(JsonStringToMessage(daemon_.Run({"vm", "show", "kept", "-o", "json"}).out, &vm).ok());
  EXPECT_EQ(vm.state(), v1::Vm::STOPPED);
  EXPECT_EQ(vm.exit_status(), kGuestIsWell);
}

TEST_F(WithDaemon, RunIsCleanedUpAfterASignal) {
  Process run(daemon_.Command({"run", Guest("echo"), "--memory", "64M"}), daemon_.environment());
  ASSERT_TRUE(run.ReadUntil("echo>")) << run.out() << run.err();
  run.Signal(SIGINT);
  EXPECT_EQ(run.Wait(), 130) << run.err();
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "");
}

TEST_F(WithDaemon, RunPassesStandardInputToTheGuest) {
  const Result result = daemon_.Run({"run", Guest("echo"), "--memory", "64M"}, "ping pong\nq");
  EXPECT_EQ(result.code, kGuestIsWell) << result.err;
  EXPECT_THAT(result.out, HasSubstr("ping pong"));
}

TEST_F(WithDaemon, TimeoutIsSeven) {
  Create("idle", "echo");
  const Result result =
      daemon_.Run({"vm", "wait", "idle", "--for", "failed", "--timeout", "200ms"});
  EXPECT_EQ(result.code, 7) << result.err;
}

TEST_F(WithDaemon, TheConsoleOnATerminalTypesAndDetaches) {
  Create("term", "echo");
  ASSERT_EQ(daemon_.Run({"vm", "start", "term"}).code, 0);
  Process console(daemon_.Command({"vm", "console", "term"}), daemon_.environment(),
                  Process::Stdio::kTerminal);
  ASSERT_TRUE(console.ReadUntil("Ctrl-] d detaches")) << console.out();
  ASSERT_TRUE(console.ReadUntil("echo>")) << console.out();
  console.Write("typed\r");
  ASSERT_TRUE(console.ReadUntil("typed")) << console.out();
  console.Write("\x1d");
  console.Write("d");
  ASSERT_TRUE(console.ReadUntil("detached")) << console.out();
  EXPECT_EQ(console.Wait(), 0);
  EXPECT_THAT(daemon_.Run({"vm", "show", "term"}).out, HasSubstr("running"));
}

TEST_F(WithDaemon, TheConsolesEscapeStopsARun) {
  Process run(daemon_.Command({"run", Guest("echo"), "--memory", "64M"}), daemon_.environment(),
              Process::Stdio::kTerminal);
  ASSERT_TRUE(run.ReadUntil("echo>")) << run.out();
  run.Write("\x1dq");
  EXPECT_EQ(run.Wait(), 0) << run.out();
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "");
}

TEST_F(WithDaemon, SitesAreListedShownAndSet) {
  Create("calls", "calls");
  ASSERT_EQ(daemon_.Run({"vm", "start", "calls", "--wait"}).code, 0);
  v1::ListSitesResponse list;
  ASSERT_TRUE(
      JsonStringToMessage(daemon_.Run({"sites", "ls", "calls", "-o", "json"}).out, &list).ok());
  ASSERT_GE(list.sites_size(), 1);
  EXPECT_GE(list.sites(0).traps(), 1u);
  const Result names = daemon_.Run({"sites", "ls", "calls", "-o", "name"});
  const std::string gpa = names.out.substr(0, names.out.find('\n'));
  EXPECT_THAT(daemon_.Run({"sites", "show", "calls", gpa}).out, HasSubstr("Original bytes"));
  EXPECT_EQ(daemon_.Run({"sites", "show", "calls", "0xfff000"}).code, 3);
}

TEST_F(WithDaemon, TraceShowsCallsAndCountsDrops) {
  Create("traced", "calls");
  Process trace(daemon_.Command({"trace", "traced", "--count", "3"}), daemon_.environment());
  ASSERT_TRUE(trace.ReadErrorUntil("tracing traced")) << trace.err();
  ASSERT_EQ(daemon_.Run({"vm", "start", "traced"}).code, 0);
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
  EXPECT_THAT(trace.out(), HasSubstr("[vcpu 0] "));
  EXPECT_THAT(trace.out(), HasSubstr(" cyc> "));
  EXPECT_THAT(trace.err(), HasSubstr("3 hypercalls shown"));
  EXPECT_THAT(trace.err(), HasSubstr("dropped"));
}

TEST_F(WithDaemon, BenchPrintsTheTable) {
  const Result result = daemon_.Run(
      {"bench", "hypercall", "--runs", "2", "--calls", "1000", "--techniques", "emulate,linked"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("lguest, 2008"));
  EXPECT_THAT(result.out, HasSubstr("linked"));
  EXPECT_EQ(daemon_.Run({"vm", "ls", "-o", "name"}).out, "");
}

TEST_F(WithDaemon, BenchSaysWhichEngineItMeasuredAndDraws) {
  const std::string plot = testing::TempDir() + "/bench_" + std::to_string(getpid()) + ".svg";
  const Result result =
      daemon_.Run({"bench", "hypercall", "--runs", "3", "--calls", "2000", "--engine", "soft",
                   "--techniques", "host,linked3,emulate", "--plot", plot, "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  google::protobuf::Struct document;
  ASSERT_TRUE(JsonStringToMessage(result.out, &document).ok()) << result.out;
  EXPECT_EQ(document.fields().at("engine").string_value(), "soft");
  std::vector<std::string> names;
  for (const auto& row : document.fields().at("techniques").list_value().values()) {
    const auto& fields = row.struct_value().fields();
    names.push_back(fields.at("technique").string_value());
    EXPECT_EQ(fields.at("cycles").list_value().values_size(), 3) << names.back();
    EXPECT_GT(fields.at("medianNanoseconds").number_value(), 0) << names.back();
    EXPECT_EQ(fields.count("timesCheaperThanEmulate"), 1u) << names.back();
  }
  EXPECT_THAT(names, ElementsAre("emulate", "linked3", "host")) << "in the order of the table";
  std::ifstream drawn(plot);
  const std::string svg{std::istreambuf_iterator<char>(drawn), {}};
  EXPECT_THAT(svg, HasSubstr("engine soft"));
  std::filesystem::remove(plot);
}

TEST_F(WithDaemon, APlotThatCannotBeWrittenIsAUsageError) {
  const Result result = daemon_.Run({"bench", "hypercall", "--runs", "1", "--calls", "10",
                                     "--techniques", "emulate", "--plot", "/nonexistent/plot.svg"});
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("/nonexistent/plot.svg"));
}

}  // namespace
}  // namespace trapline::cli_test
