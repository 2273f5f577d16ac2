// SPDX-License-Identifier: Apache-2.0
// A VM's report: an archive that tar can read, and a summary that hides nothing.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/report_archive.h"
#include "cli/vm_report_text.h"
#include "core/base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What a command prints.
std::string Printed(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  std::string out(1 << 20, '\0');
  out.resize(std::fread(out.data(), 1, out.size(), pipe.get()));
  return out;
}

TEST(ReportArchive, TarReadsWhatWasAdded) {
  const std::string path = testing::TempDir() + "/report_" + std::to_string(getpid()) + ".tar.gz";
  const std::string large(700000, 'x');
  {
    const base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    auto archive = ReportArchive::Create(fd.get(), "folder", absl::FromUnixSeconds(1700000000));
    ASSERT_TRUE(archive.ok()) << archive.status();
    ASSERT_TRUE(archive->Add("small.txt", std::string("text\n")).ok());
    ASSERT_TRUE(archive->Add("empty.txt", std::string()).ok());
    absl::StatusOr<Spool> spool = Spool::Create();
    ASSERT_TRUE(spool.ok()) << spool.status();
    ASSERT_TRUE(spool->Write(large).ok());
    ASSERT_TRUE(archive->Add("large.txt", *spool).ok());
    ASSERT_TRUE(archive->Close().ok());
  }
  EXPECT_EQ(Printed("tar tzf " + path), "folder/small.txt\nfolder/empty.txt\nfolder/large.txt\n");
  EXPECT_EQ(Printed("tar xzOf " + path + " folder/small.txt"), "text\n");
  EXPECT_EQ(Printed("tar xzOf " + path + " folder/large.txt"), large);
  std::remove(path.c_str());
}

TEST(ReportArchive, ADiskThatIsFullIsAnError) {
  const base::UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  auto archive = ReportArchive::Create(full.get(), "folder", absl::UnixEpoch());
  ASSERT_TRUE(archive.ok());
  absl::Status status = archive->Add("file", std::string("text"));
  if (status.ok()) status = archive->Close();
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
}

ReportSummary Failed() {
  ReportSummary summary;
  summary.vm.set_name("vms/a");
  summary.vm.set_state(v1::Vm::FAILED);
  summary.vm.set_state_reason("triple fault");
  summary.vm.set_failure_report("triple fault: page fault at f+0x2\nrax 0");
  summary.vm.mutable_spec()->set_command_line("console=ttyS0\033[2J");
  summary.client_version = "1.2.3";
  summary.parts = {{"vm.json", "the VM", 1234, ""}};
  return summary;
}

TEST(ReportSummaryText, SaysHowItEndedAndWhatIsThere) {
  const std::string text = ReportSummaryText(Failed());
  EXPECT_THAT(text, HasSubstr("failed"));
  EXPECT_THAT(text, HasSubstr("triple fault: page fault at f+0x2 (failure.txt has more)"));
  EXPECT_THAT(text, HasSubstr("vm.json  1,234  the VM"));
  EXPECT_THAT(text, HasSubstr("Nothing is missing."));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(ReportSummaryText, SaysWhatIsMissingAndWhy) {
  ReportSummary summary = Failed();
  summary.parts.push_back({"vcpus.txt", "registers", 0, "VM a has no worker"});
  const std::string text = ReportSummaryText(summary);
  EXPECT_THAT(text, HasSubstr("What is not in it:"));
  EXPECT_THAT(text, HasSubstr("vcpus.txt  registers  VM a has no worker"));
}

}  // namespace
}  // namespace trapline::cli
