// SPDX-License-Identifier: Apache-2.0
// `trapline vm report`, and what the other commands say of VMs that broke down.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli_test {
namespace {

using google::protobuf::util::JsonStringToMessage;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string Printed(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  std::string out(4 << 20, '\0');
  out.resize(std::fread(out.data(), 1, out.size(), pipe.get()));
  return out;
}

class VmReport : public WithDaemon {
 protected:
  ~VmReport() override { std::filesystem::remove(archive_); }
  void Report(const std::string& vm) {
    const Result result = daemon_.Run({"vm", "report", vm, "--file", archive_});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("summary.txt"));
    folder_ = "trapline-report-" + vm + "/";
    list_ = Printed("tar tzf " + archive_);
  }
  bool Has(const std::string& name) const {
    return list_.find(folder_ + name + "\n") != std::string::npos;
  }
  std::string Part(const std::string& name) const {
    return Printed("tar xzOf " + archive_ + " " + folder_ + name);
  }
  // A VM whose guest made a hundred calls and then faulted thrice.
  void Crash() {
    Create("crash", "crash", {"--engine", "soft"});
    Well({"vm", "start", "crash"});
    Well({"vm", "wait", "crash", "--for", "failed"});
  }

  const std::string archive_ =
      testing::TempDir() + "/vm_report_" + std::to_string(getpid()) + ".tar.gz";
  std::string folder_, list_;
};

TEST_F(VmReport, OfAGuestThatCrashedHasEverythingButWhatIsGone) {
  Crash();
  Report("crash");
  v1::Vm vm;
  ASSERT_TRUE(JsonStringToMessage(Part("vm.json"), &vm).ok());
  EXPECT_EQ(vm.state(), v1::Vm::FAILED);
  EXPECT_THAT(Part("failure.txt"), HasSubstr("crash_here"));
  v1::SiteLedger ledger;
  ASSERT_TRUE(JsonStringToMessage(Part("sites.json"), &ledger).ok());
  ASSERT_THAT(ledger.sites(), SizeIs(1));
  EXPECT_EQ(ledger.sites(0).traps() + ledger.sites(0).fast_calls(), 100u);
  EXPECT_THAT(Part("sites.csv"), HasSubstr("crash_site"));
  EXPECT_THAT(Part("history.csv"), HasSubstr("crash_site"));
  EXPECT_THAT(Part("trace.jsonl"), HasSubstr("\"crash_site\""));
  EXPECT_EQ(Part("console.log"), "crash>");
  EXPECT_THAT(Part("host.json"), HasSubstr("engines"));
  EXPECT_THAT(Part("summary.txt"), AllOf(HasSubstr("failed"), HasSubstr("failure.txt has more"),
                                         HasSubstr("events.jsonl")));
}

TEST_F(VmReport, OfAKilledWorkerSaysWhatItTookWithIt) {
  Start("loop", "loop");
  while (Json<v1::ListSitesResponse>({"sites", "ls", "loop"}).sites().empty()) {
  }
  daemon_.KillWorker("loop");
  Well({"vm", "wait", "loop", "--for", "failed"});
  Report("loop");
  EXPECT_TRUE(Has("sites.json"));
  EXPECT_FALSE(Has("vcpus.txt"));
  EXPECT_FALSE(Has("failure.txt"));
  EXPECT_THAT(Part("summary.txt"), AllOf(HasSubstr("killed by signal 9"), HasSubstr("vcpus.txt"),
                                         HasSubstr("no worker")));
  EXPECT_THAT(Part("console.log"), StartsWith("loop>"));
}

TEST_F(VmReport, OfARunningVmHoldsNothingUp) {
  Start("loop", "loop");
  while (Json<v1::ListSitesResponse>({"sites", "ls", "loop"}).sites().empty()) {
  }
  Report("loop");
  EXPECT_THAT(Part("vcpus.txt"), AllOf(StartsWith("vCPU 0"), HasSubstr("jmp")));
  EXPECT_EQ(Part("console.log"), "loop>");
  EXPECT_EQ(Json<v1::Vm>({"vm", "show", "loop"}).state(), v1::Vm::RUNNING);
}

TEST_F(VmReport, OfAVmThatNeverRanSaysSo) {
  Create("still", "greet");
  Report("still");
  EXPECT_FALSE(Has("console.log"));
  EXPECT_THAT(Part("summary.txt"), HasSubstr("it has not been started"));
}

TEST_F(VmReport, OfNothingLeavesNoFile) {
  EXPECT_EQ(daemon_.Run({"vm", "report", "absent", "--file", archive_}).code, 3);
  EXPECT_FALSE(std::filesystem::exists(archive_));
}

TEST_F(VmReport, ShowHasTheFailureBelow) {
  Crash();
  EXPECT_THAT(Well({"vm", "show", "crash"}),
              AllOf(HasSubstr("failed"), HasSubstr("\nFailure:\n"), HasSubstr("crash_here")));
  EXPECT_THAT(Well({"sites", "ls", "crash"}), HasSubstr("crash_site"));
  daemon_.KillWorker("crash");
  while (Json<v1::Vm>({"vm", "show", "crash"}).state_reason().find("the worker was lost") ==
         std::string::npos) {
  }
  EXPECT_THAT(Well({"vm", "show", "crash"}), HasSubstr("crash_here"));
  EXPECT_THAT(Well({"sites", "ls", "crash"}), HasSubstr("crash_site"));
  const std::string name = Json<v1::ListSitesResponse>({"sites", "ls", "crash"}).sites(0).name();
  EXPECT_THAT(Well({"sites", "show", "crash", name.substr(name.rfind('/') + 1)}),
              HasSubstr("crash_site"));
}

}  // namespace
}  // namespace trapline::cli_test
