// SPDX-License-Identifier: Apache-2.0
// What a real daemon tells of real guests: what is counted, that it never falls, how much of it
// there can be, and that there is nothing where nobody asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <time.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/api/daemon_process.h"
#include "tests/cli/process.h"
#include "tests/metrics/http.h"
#include "tests/metrics/scrape.h"

namespace trapline::metrics_test {
namespace {

using daemon::DaemonProcess;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kCalls[] = "trapline_hypercalls_total", kVmCalls[] = "trapline_vm_hypercalls_total",
               kHandled[] = "trapline_rpc_handled_total", kOpen[] = "trapline_rpc_open_streams",
               kLatencies[] = "trapline_rpc_duration_seconds_count";

class Metrics : public ::testing::Test {
 protected:
  explicit Metrics(std::vector<std::string> flags = {"--metrics-listen", "0"})
      : daemon_("", std::move(flags)) {}

  // Nothing that may only rise has fallen since the last one, but what went with its VM.
  Scrape Now() {
    HttpAnswer answer = Get(absl::StrCat("http://127.0.0.1:", daemon_.metrics_port(), "/metrics"));
    EXPECT_EQ(answer.code, 200);
    Scrape scrape(answer.body);
    std::map<std::string, double> rising = scrape.Rising();
    for (const auto& [series, value] : last_) {
      auto now = rising.find(series);
      if (now == rising.end()) {
        EXPECT_THAT(series, ::testing::StartsWith("trapline_vm_hypercalls_total"));
      } else {
        EXPECT_GE(now->second, value) << series;
      }
    }
    last_ = std::move(rising);
    return scrape;
  }
  double Calls() { return Now().Sum(kCalls); }
  // Until the guest has made that many more.
  void AwaitCalls(double more) {
    double begin = Calls();
    while (!HasFailure() && Calls() < begin + more) {
    }
  }

  void Start(const std::string& id, v1::Engine engine,
             const std::string& arguments = "calls=1000000000000") {
    v1::CreateVmRequest request;
    request.set_vm_id(id);
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/hello.elf");
    spec->set_command_line(arguments);
    spec->set_memory_bytes(16 << 20);
    spec->set_engine(engine);
    v1::Vm vm;
    grpc::ClientContext context;
    grpc::Status created = daemon_.vms().CreateVm(&context, request, &vm);
    ASSERT_TRUE(created.ok()) << created.error_message();
    ASSERT_TRUE(daemon_.StartVm(id).ok());
  }
  // A call of the Vms service about one VM.
  template <typename Request, typename Response>
  grpc::Status Of(const std::string& id,
                  grpc::Status (v1::Vms::Stub::*method)(grpc::ClientContext*, const Request&,
                                                        Response*)) {
    Request request;
    request.set_name("vms/" + id);
    Response response;
    grpc::ClientContext context;
    return (daemon_.vms().*method)(&context, request, &response);
  }
  grpc::Status Pause(const std::string& id) { return Of(id, &v1::Vms::Stub::PauseVm); }
  grpc::Status Resume(const std::string& id) { return Of(id, &v1::Vms::Stub::ResumeVm); }
  grpc::Status Delete(const std::string& id) {
    v1::DeleteVmRequest request;
    request.set_name("vms/" + id);
    request.set_force(true);
    google::protobuf::Empty response;
    grpc::ClientContext context;
    return daemon_.vms().DeleteVm(&context, request, &response);
  }
  grpc::Status ResetCounters(const std::string& name) {
    v1::ResetSiteCountersRequest request;
    request.set_name(name);
    v1::SiteTotals response;
    grpc::ClientContext context;
    return daemon_.sites().ResetSiteCounters(&context, request, &response);
  }
  std::string FirstSite(const std::string& id) {
    v1::ListSitesRequest request;
    request.set_parent("vms/" + id);
    v1::ListSitesResponse response;
    grpc::ClientContext context;
    daemon_.sites().ListSites(&context, request, &response);
    return response.sites_size() == 0 ? "" : response.sites(0).name();
  }

  const time_t begin_ = time(nullptr);
  DaemonProcess daemon_;

 private:
  std::map<std::string, double> last_;
};

class MetricsOfEngine : public Metrics, public ::testing::WithParamInterface<v1::Engine> {};

TEST_P(MetricsOfEngine, CallsNeverFallAndNoneIsLost) {
  Start("a", GetParam());
  AwaitCalls(1000);
  ASSERT_TRUE(Pause("a").ok());
  double calls = Calls();
  ASSERT_TRUE(ResetCounters("vms/a").ok());
  EXPECT_EQ(Calls(), calls) << "a reset takes nothing away";
  ASSERT_TRUE(Resume("a").ok());
  AwaitCalls(1000);
  ASSERT_TRUE(ResetCounters(FirstSite("a")).ok());
  AwaitCalls(1000);

  // The worker dies; the next one makes the stats file anew.
  std::vector<pid_t> workers = daemon_.Children("trapline-vmm");
  ASSERT_EQ(workers.size(), 1u);
  kill(workers[0], SIGKILL);
  v1::WaitVmRequest wait;
  wait.set_name("vms/a");
  wait.add_target_states(v1::Vm::FAILED);
  v1::Vm vm;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_.vms().WaitVm(&context, wait, &vm).ok());
  calls = Calls();
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  AwaitCalls(1000);
  ASSERT_TRUE(Pause("a").ok());
  double later = Calls();
  EXPECT_GE(later, calls + 1000);
  EXPECT_EQ(Now().Sum(kVmCalls, {{"vm", "a"}}), later);

  ASSERT_TRUE(Delete("a").ok());
  Scrape end = Now();
  EXPECT_EQ(end.Sum(kCalls), later);
  EXPECT_THAT(end.Find(kVmCalls), IsEmpty());
  EXPECT_EQ(end.Sum("trapline_worker_losses_total"), 1);
  EXPECT_EQ(end.Sum("trapline_worker_starts_total"), 2);
  EXPECT_EQ(end.Sum("trapline_vm_events_total", {{"kind", "failed"}}), 1);
  EXPECT_EQ(end.Sum("trapline_vm_events_total", {{"kind", "deleted"}}), 1);
}

TEST_P(MetricsOfEngine, SitesGoFromTrapToLinked) {
  Start("a", GetParam());
  const std::map<std::string, std::string> linked = {{"technique", "linked"}};
  while (!HasFailure() && Now().Sum(kCalls, linked) == 0) {
  }
  Scrape scrape = Now();
  EXPECT_GT(scrape.Sum("trapline_traps_total"), 0);
  EXPECT_EQ(scrape.Sum("trapline_traps_total"), scrape.Sum(kCalls, {{"technique", "emulate"}}));
  EXPECT_GT(scrape.Sum("trapline_hypercall_cycles_total"), 0);
  EXPECT_EQ(scrape.Sum("trapline_site_patches_total"), 2) << "to interrupt, and to linked";
  EXPECT_EQ(scrape.Sum("trapline_site_reverts_total"), 0);
  EXPECT_EQ(scrape.Sum("trapline_sites", {{"state", "linked"}}), 1);
  EXPECT_EQ(scrape.Sum("trapline_vms", {{"state", "running"}}), 1);

  v1::RevertSiteRequest revert;
  revert.set_name(FirstSite("a"));
  v1::Site site;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_.sites().RevertSite(&context, revert, &site).ok());
  EXPECT_EQ(Now().Sum("trapline_site_reverts_total"), 1);
  EXPECT_EQ(Now().Sum("trapline_sites", {{"state", "reverted"}}), 1);
}

INSTANTIATE_TEST_SUITE_P(Engines, MetricsOfEngine,
                         ::testing::Values(v1::ENGINE_SOFT, v1::ENGINE_DIRECT),
                         [](const auto& info) { return v1::Engine_Name(info.param); });

TEST_F(Metrics, ADaemonThatFindsAWorkerCountsFromThenOn) {
  Start("a", v1::ENGINE_SOFT);
  AwaitCalls(1000);
  ASSERT_TRUE(Pause("a").ok());
  daemon_.KeepDirectory();
  daemon_.Kill();
  DaemonProcess next(daemon_.directory(), {"--metrics-listen", "0"});
  auto scrape = [&] {
    return Scrape(Get(absl::StrCat("http://127.0.0.1:", next.metrics_port(), "/metrics")).body);
  };
  EXPECT_EQ(scrape().Sum(kCalls), 0);
  EXPECT_EQ(scrape().Sum("trapline_worker_adoptions_total"), 1);
  v1::ResumeVmRequest request;
  request.set_name("vms/a");
  v1::Vm vm;
  grpc::ClientContext context;
  ASSERT_TRUE(next.vms().ResumeVm(&context, request, &vm).ok());
  while (scrape().Sum(kCalls) == 0) {
  }
}

// ---- Calls of the API ----

TEST_F(Metrics, EachCallIsCountedOnceWithItsCode) {
  const std::string get = "trapline.v1.Vms/GetVm";
  EXPECT_EQ(Now().Sum(kHandled, {{"method", get}}), 0);
  Start("a", v1::ENGINE_SOFT, "calls=1");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Of("a", &v1::Vms::Stub::GetVm).ok());
  EXPECT_EQ(Of("b", &v1::Vms::Stub::GetVm).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(Of("", &v1::Vms::Stub::GetVm).error_code(), grpc::INVALID_ARGUMENT);
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum(kHandled, {{"method", get}, {"code", "OK"}}), 3);
  EXPECT_EQ(scrape.Sum(kHandled, {{"method", get}, {"code", "NOT_FOUND"}}), 1);
  EXPECT_EQ(scrape.Sum(kHandled, {{"method", get}, {"code", "INVALID_ARGUMENT"}}), 1);
  EXPECT_EQ(scrape.Sum(kHandled, {{"method", get}}), 5);
  EXPECT_EQ(scrape.Sum(kLatencies, {{"method", get}}), 5);
  EXPECT_EQ(scrape.Sum("trapline_rpc_duration_seconds_bucket", {{"method", get}, {"le", "+Inf"}}),
            5);
}

TEST_F(Metrics, AStreamIsOpenUntilItEndsAndHasNoLatency) {
  const std::map<std::string, std::string> watches = {{"method", "trapline.v1.Vms/WatchVmEvents"}};
  {
    grpc::ClientContext first, second;
    auto one = daemon_.vms().WatchVmEvents(&first, {});
    auto two = daemon_.vms().WatchVmEvents(&second, {});
    one->WaitForInitialMetadata();
    two->WaitForInitialMetadata();
    EXPECT_EQ(Now().Sum(kOpen, watches), 2);
    EXPECT_EQ(Now().Sum(kHandled, watches), 0);
    first.TryCancel();
    while (!HasFailure() && Now().Sum(kOpen, watches) == 2) {
    }
    EXPECT_EQ(Now().Sum(kOpen, watches), 1);
    EXPECT_EQ(Now().Find(kHandled, {{"code", "CANCELLED"}}).size(), 1u);
    second.TryCancel();
  }
  while (!HasFailure() && Now().Sum(kOpen, watches) != 0) {
  }
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum(kHandled, watches), 2);
  EXPECT_THAT(scrape.Find(kLatencies, watches), IsEmpty());

  // One that is refused.
  v1::WatchVmEventsRequest request;
  request.set_name("vms/nobody");
  grpc::ClientContext context;
  EXPECT_EQ(daemon_.vms().WatchVmEvents(&context, request)->Finish().error_code(), grpc::NOT_FOUND);
  std::map<std::string, std::string> refused = watches;
  refused["code"] = "NOT_FOUND";
  EXPECT_EQ(Now().Sum(kHandled, refused), 1);
  EXPECT_EQ(Now().Sum(kOpen, watches), 0);
}

TEST_F(Metrics, TheConsolesCallbackMethodIsCountedLikeTheOthers) {
  const std::map<std::string, std::string> console = {{"method", "trapline.v1.Vms/Console"}};
  Start("a", v1::ENGINE_SOFT, "calls=1");
  grpc::ClientContext context;
  auto stream = daemon_.vms().Console(&context);
  v1::ConsoleRequest request;
  request.set_name("vms/a");
  ASSERT_TRUE(stream->Write(request));
  v1::ConsoleResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum(kHandled, console), 1);
  EXPECT_EQ(scrape.Sum(kOpen, console), 0);
}

TEST_F(Metrics, TracedCallsAreCountedAsTheirClientSawThem) {
  Start("a", v1::ENGINE_SOFT);
  v1::StreamHypercallsRequest request;
  request.set_parent("vms/a");
  grpc::ClientContext context;
  auto stream = daemon_.traces().StreamHypercalls(&context, request);
  v1::StreamHypercallsResponse response;
  double records = 0, dropped = 0;
  while (records == 0) {
    ASSERT_TRUE(stream->Read(&response));
    records += response.records_size();
  }
  EXPECT_EQ(Now().Sum(kOpen, {{"method", "trapline.v1.Traces/StreamHypercalls"}}), 1);
  v1::StopVmRequest stop;
  stop.set_name("vms/a");
  stop.set_mode(v1::StopVmRequest::FORCED);
  v1::StopVmResponse stopped;
  grpc::ClientContext stopping;
  ASSERT_TRUE(daemon_.vms().StopVm(&stopping, stop, &stopped).ok());
  while (stream->Read(&response)) {
    records += response.records_size();
    dropped = static_cast<double>(response.dropped());
  }
  EXPECT_TRUE(stream->Finish().ok());
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum("trapline_trace_records_total"), records);
  EXPECT_EQ(scrape.Sum("trapline_trace_dropped_total"), dropped);
}

TEST_F(Metrics, WhatIsNoMethodOfOursMakesNoLabel) {
  size_t series = Now().Rising().size();
  auto channel = grpc::CreateChannel("unix:" + daemon_.directory() + "/d.sock",
                                     grpc::InsecureChannelCredentials());
  grpc::TemplatedGenericStub<v1::GetVmRequest, v1::Vm> stub(channel);
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call =
        stub.PrepareUnaryCall(&context, absl::StrCat("/made.up.Service/Method", i), {}, &queue);
    call->StartCall();
    v1::Vm response;
    grpc::Status status;
    call->Finish(&response, &status, &queue);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED);
  }
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum(kHandled, {{"method", "other"}, {"code", "UNIMPLEMENTED"}}), 20);
  EXPECT_EQ(scrape.Rising().size(), series + 1);
}

// ---- How much there is ----

class MetricsOfFew : public Metrics {
 protected:
  MetricsOfFew() : Metrics({"--metrics-listen", "0", "--metrics-max-vms", "2"}) {}
};

TEST_F(MetricsOfFew, VmsBeyondTheLimitAreSummedUp) {
  for (const char* id : {"a", "b", "c", "d"}) {
    Start(id, v1::ENGINE_SOFT);
    Now();
    AwaitCalls(100);
    ASSERT_TRUE(Pause(id).ok());
  }
  Scrape scrape = Now();
  std::set<std::string> names;
  for (const Sample& sample : scrape.Find(kVmCalls)) names.insert(sample.labels.at("vm"));
  EXPECT_THAT(names, UnorderedElementsAre("a", "b", "_other"));
  EXPECT_EQ(scrape.Sum(kVmCalls), scrape.Sum(kCalls));
  EXPECT_EQ(scrape.Sum("trapline_vm_sites"), scrape.Sum("trapline_sites"));
  double others = scrape.Sum(kVmCalls, {{"vm", "_other"}});
  EXPECT_GE(others, 200);
  ASSERT_TRUE(Delete("d").ok());
  EXPECT_EQ(Now().Sum(kVmCalls, {{"vm", "_other"}}), others) << "what a counter had it keeps";
}

// ---- Form ----

TEST_F(Metrics, PromtoolHasNothingToSay) {
  Start("a", v1::ENGINE_SOFT, "calls=100");
  Of("a", &v1::Vms::Stub::GetVm);
  Scrape scrape = Now();
  cli_test::Process promtool({PROMTOOL, "check", "metrics"});
  promtool.Write(scrape.text());
  promtool.CloseStdin();
  EXPECT_EQ(promtool.Wait(), 0);
  EXPECT_EQ(promtool.out() + promtool.err(), "");
}

TEST_F(Metrics, TheDaemonTellsOfItself) {
  Scrape scrape = Now();
  EXPECT_EQ(scrape.Sum("trapline_build_info"), 1);
  EXPECT_EQ(scrape.Sum("trapline_vms_limit"), 1000);
  EXPECT_EQ(scrape.Sum("trapline_vms_damaged"), 0);
  EXPECT_GT(scrape.Sum("process_cpu_seconds_total"), 0);
  EXPECT_GT(scrape.Sum("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(scrape.Sum("process_open_fds"), 3);
  EXPECT_GE(scrape.Sum("process_max_fds"), scrape.Sum("process_open_fds"));
  // The kernel gives the machine's start in whole seconds.
  EXPECT_GE(scrape.Sum("process_start_time_seconds"), static_cast<double>(begin_ - 2));
  EXPECT_LE(scrape.Sum("process_start_time_seconds"), static_cast<double>(time(nullptr) + 2));
}

// ---- Off ----

// Inodes of the TCP sockets that listen in this network.
std::set<std::string> ListeningSockets() {
  std::set<std::string> inodes;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
      if (fields.size() > 9 && fields[3] == "0A") inodes.insert("socket:[" + fields[9] + "]");
    }
  }
  return inodes;
}
int ListeningSocketsOf(pid_t pid) {
  int found = 0;
  std::set<std::string> listening = ListeningSockets();
  for (const auto& fd : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"))) {
    std::error_code gone;
    found += static_cast<int>(listening.count(std::filesystem::read_symlink(fd.path(), gone)));
  }
  return found;
}

TEST(NoMetrics, NothingListensUnlessAsked) {
  DaemonProcess without, with("", {"--metrics-listen", "0"});
  EXPECT_EQ(without.metrics_port(), 0);
  EXPECT_EQ(ListeningSocketsOf(without.pid()), 0);
  EXPECT_GT(with.metrics_port(), 0);
  EXPECT_EQ(ListeningSocketsOf(with.pid()), 1);
}

TEST(NoMetrics, WhereTheyCannotBeServedTheDaemonDoesNotStart) {
  DaemonProcess first("", {"--metrics-listen", "0"});
  std::string directory = first.directory() + "/second";
  auto run = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--listen", directory + "/d.sock", "--run-dir", directory,
                             "--state-dir", directory, "--log-level", "error"});
    return daemon::RunDaemon(more);
  };
  EXPECT_EQ(run({"--metrics-listen", absl::StrCat(first.metrics_port())}), 1);
  EXPECT_EQ(run({"--metrics-listen", "0.0.0.0:0"}), 1);
  EXPECT_EQ(run({"--metrics-listen", "localhost:x"}), 1);
  // Flags that would mean nothing.
  EXPECT_NE(run({"--insecure-metrics"}), 0);
  EXPECT_NE(run({"--metrics-max-vms", "5"}), 0);
  EXPECT_FALSE(std::filesystem::exists(directory + "/d.sock"));
}

}  // namespace
}  // namespace trapline::metrics_test
