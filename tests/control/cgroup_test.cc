// SPDX-License-Identifier: Apache-2.0
// Limits of a worker, and cgroups where this host has some to divide.
#include "daemon/control/cgroup.h"
#include "tests/common/scratch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;
using Measure = v1::Confinement::Measure;

std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

class CgroupTest : public ::testing::Test {
 protected:
  void Make(const std::filesystem::path& file) { std::ofstream(directory_ / file) << ""; }

  const Scratch scratch_;
  const std::filesystem::path directory_ = scratch_.path();
};

v1::VmSpec SpecOf(v1::Engine engine) {
  v1::VmSpec spec;
  spec.set_vcpus(4);
  spec.set_memory_bytes(uint64_t{1} << 30);
  spec.set_engine(engine);
  return spec;
}

TEST_F(CgroupTest, LimitsLeaveRoomForAllThatAVmMayTake) {
  const CgroupLimits soft = LimitsFor(SpecOf(v1::ENGINE_SOFT));
  const CgroupLimits direct = LimitsFor(SpecOf(v1::ENGINE_DIRECT));
  EXPECT_EQ(soft.processors, 5u);
  EXPECT_EQ(direct.processors, 9u) << "guest processes and their VMM";
  EXPECT_GT(direct.memory_bytes, uint64_t{1} << 30);
  EXPECT_GT(soft.memory_bytes, direct.memory_bytes) << "decoded code";
  EXPECT_GT(direct.tasks, 8u);
  v1::VmSpec larger = SpecOf(v1::ENGINE_DIRECT);
  std::ofstream(directory_ / "kernel") << std::string(1 << 20, 'x');
  larger.set_kernel_path(directory_ / "kernel");
  EXPECT_GT(LimitsFor(larger).memory_bytes, direct.memory_bytes) << "it is kept";
}

TEST_F(CgroupTest, WhereNothingIsHandedDownThatIsSaid) {
  const Measure measure = CgroupTree::Below(directory_).Join("vm-a", getpid(), {1, 1, 1});
  EXPECT_EQ(measure.name(), "cgroup");
  EXPECT_EQ(measure.state(), Measure::UNAVAILABLE);
  EXPECT_THAT(measure.detail(), HasSubstr("does not offer cpu, memory, pids"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "vm-a"));
}

// A directory that has the files that the kernel would put there.
TEST_F(CgroupTest, AProcessIsLimitedBeforeItIsMoved) {
  Make("cgroup.subtree_control");
  std::filesystem::create_directory(directory_ / "vm-a");
  for (const char* file : {"memory.max", "memory.oom.group", "cpu.max", "pids.max", "cgroup.procs"})
    Make(std::filesystem::path("vm-a") / file);
  const CgroupTree tree = CgroupTree::Below(directory_);
  const Measure measure = tree.Join("vm-a", 4711, {uint64_t{100} << 20, 3, 70});
  EXPECT_EQ(measure.state(), Measure::APPLIED) << measure.detail();
  EXPECT_EQ(measure.detail(), "at most 3 processors, 100 MiB, 70 tasks");
  EXPECT_EQ(Contents(directory_ / "vm-a/memory.max"), "104857600");
  EXPECT_EQ(Contents(directory_ / "vm-a/cpu.max"), "300000 100000");
  EXPECT_EQ(Contents(directory_ / "vm-a/pids.max"), "70");
  EXPECT_EQ(Contents(directory_ / "vm-a/cgroup.procs"), "4711");
  std::filesystem::remove(directory_ / "vm-a/cpu.max");
  const Measure failed = tree.Join("vm-a", 4711, {1, 1, 1});
  EXPECT_EQ(failed.state(), Measure::UNAVAILABLE);
  EXPECT_THAT(failed.detail(), HasSubstr("vm-a/cpu.max: No such file or directory"));
}

TEST_F(CgroupTest, WhatTheKernelKilledForWantOfMemoryIsSaid) {
  Make("cgroup.subtree_control");
  std::filesystem::create_directory(directory_ / "vm-a");
  const CgroupTree tree = CgroupTree::Below(directory_);
  EXPECT_EQ(tree.OutOfMemory("vm-a"), "") << "there are no such files";
  std::ofstream(directory_ / "vm-a/memory.max") << "104857600\n";
  std::ofstream(directory_ / "vm-a/memory.events") << "low 0\nmax 9\noom 0\noom_kill 0\n";
  EXPECT_EQ(tree.OutOfMemory("vm-a"), "");
  std::ofstream(directory_ / "vm-a/memory.events") << "low 0\nmax 9\noom 1\noom_kill 2\n";
  EXPECT_EQ(tree.OutOfMemory("vm-a"),
            "out of memory (OOM): the VM may take 100 MiB, or its host has no more");
}

TEST_F(CgroupTest, OneThatIsNotThereIsSaid) {
  const Measure measure = CgroupTree::At("trapline-none.slice").Join("vm-a", getpid(), {1, 1, 1});
  EXPECT_EQ(measure.state(), Measure::UNAVAILABLE);
  if (measure.detail() == "this host has no cgroup version 2") GTEST_SKIP() << measure.detail();
  EXPECT_THAT(measure.detail(), HasSubstr("/trapline-none.slice: No such file or directory"));
}

// Where version 2 is mounted; empty: nowhere.
std::string MountPoint() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string what, where, type, rest; mounts >> what >> where >> type;) {
    std::getline(mounts, rest);
    if (type == "cgroup2") return where;
  }
  return "";
}

TEST_F(CgroupTest, WhoOnlyKeepsItMakesRoom) {
  const std::string name = directory_.filename(), cgroup = MountPoint() + "/" + name;
  std::error_code error;
  if (MountPoint().empty() || !std::filesystem::create_directory(cgroup, error))
    GTEST_SKIP() << "no cgroup can be made on this host: " << error.message();
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  std::ofstream(cgroup + "/cgroup.procs") << child << std::flush;
  EXPECT_EQ(Contents(cgroup + "/cgroup.procs"), std::to_string(child) + "\n");
  CgroupTree::At(name);
  EXPECT_EQ(Contents(cgroup + "/cgroup.procs"), "");
  EXPECT_EQ(Contents(cgroup + "/keeper/cgroup.procs"), std::to_string(child) + "\n");
  CgroupTree::At(name);  // the next daemon
  EXPECT_EQ(Contents(cgroup + "/keeper/cgroup.procs"), std::to_string(child) + "\n");
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  std::filesystem::remove(cgroup + "/keeper");
  std::filesystem::remove(cgroup);
}

// Where the test may divide the host's own tree: what is left in a cgroup goes with it.
TEST_F(CgroupTest, OfThisHostGoesWithWhatIsLeftInIt) {
  const CgroupTree tree = CgroupTree::OfThisProcess();
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const Measure measure = tree.Join("trapline-test", child, {uint64_t{64} << 20, 1, 10});
  tree.Remove("trapline-test");
  if (measure.state() != Measure::APPLIED) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  if (measure.state() != Measure::APPLIED) GTEST_SKIP() << measure.detail();
}

}  // namespace
}  // namespace trapline::daemon
