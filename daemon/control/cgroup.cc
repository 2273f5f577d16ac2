// SPDX-License-Identifier: Apache-2.0
// A cgroup for each worker.
//
// A cgroup that hands its controllers down may hold no processes itself, unless it is the root. So
// the daemon, where it is alone in its cgroup as in a service of systemd's with Delegate=yes, first
// moves down into one of its own ("daemon", beside those of the VMs); where others are with it, the
// cgroup is theirs as well and stays as it is. (Linux, Documentation/admin-guide/cgroup-v2.rst.)
//
// Under systemd that is no place to come back to: a daemon that is started again is put into the
// unit's own cgroup, which by then holds none. So the unit in deploy/ names a cgroup that is not
// the daemon's (deploy/systemd/trapline-vms.service).
//
// Limits are of the host's resources, not a guest's: what a guest and its VMM take together.
#include "daemon/control/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/unique_fd.h"
#include "core/hypercall/stats_file.h"

namespace trapline::daemon {
namespace {

using Measure = v1::Confinement::Measure;

constexpr char kName[] = "cgroup";
constexpr char kNoVersion2[] = "this host has no cgroup version 2";
constexpr const char* kControllers[] = {"cpu", "memory", "pids"};
// The program itself, and what gRPC has under way.
constexpr uint64_t kWorkerBytes = uint64_t{128} << 20;
// What engine soft keeps of decoded code at the most (core/engine/soft/block.h).
constexpr uint64_t kDecodedBytesPerVcpu = uint64_t{512} << 20;
// An image is kept as it was read; symbols are taken apart.
constexpr uint64_t kTimesFiles = 4;
constexpr uint32_t kWorkerTasks = 256, kTasksPerVcpu = 3;
constexpr int kEmptyMilliseconds = 1000;
constexpr int kPeriodMicroseconds = 100'000;

Measure Unavailable(const std::string& why) {
  Measure measure;
  measure.set_name(kName);
  measure.set_state(Measure::UNAVAILABLE);
  measure.set_detail(why);
  return measure;
}

// False, with errno.
bool Write(const std::string& path, const std::string& text) {
  base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() &&
         write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::vector<std::string> Words(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; file >> word;) words.push_back(std::move(word));
  return words;
}

// Where the second version is mounted; empty: nowhere.
std::string MountPoint() {
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // "26 22 0:23 / /sys/fs/cgroup rw,... - cgroup2 cgroup2 rw,..."
    if (!absl::StrContains(line, " - cgroup2 ")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() > 4) return words[4];
  }
  return "";
}

// This process's place below the mount point; empty: not in that tree.
std::string OwnPath() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "0::/")) return line.substr(3);
  }
  return "";
}

bool IsRoot(const std::string& cgroup) {
  return access((cgroup + "/cgroup.type").c_str(), F_OK) != 0;
}

// All processes, out of a cgroup that is to be divided. An error to show, or empty.
std::string MoveDown(const std::string& cgroup, const char* name) {
  const std::string below = absl::StrCat(cgroup, "/", name);
  for (const std::string& pid : Words(cgroup + "/cgroup.procs")) {
    if (mkdir(below.c_str(), 0755) != 0 && errno != EEXIST)
      return absl::StrCat(below, ": ", strerror(errno));
    // One that has ended meanwhile is out of the way as well.
    if (!Write(below + "/cgroup.procs", pid) && errno != ESRCH)
      return absl::StrCat(below, ": ", strerror(errno));
  }
  return "";
}

bool HoldsOthers(const std::string& cgroup) {
  const std::vector<std::string> pids = Words(cgroup + "/cgroup.procs");
  return std::any_of(pids.begin(), pids.end(),
                     [](const std::string& pid) { return pid != absl::StrCat(getpid()); });
}

// An error to show, or empty.
std::string HandDown(const std::string& cgroup) {
  std::vector<std::string> lacking;
  for (const char* controller : kControllers) {
    if (!Write(cgroup + "/cgroup.subtree_control", absl::StrCat("+", controller)))
      lacking.emplace_back(controller);
  }
  if (lacking.empty()) return "";
  return absl::StrCat(cgroup, " does not offer ", absl::StrJoin(lacking, ", "));
}

// The first file that could not be written; empty: all were.
std::string Limit(const std::string& cgroup, const CgroupLimits& limits) {
  const std::pair<const char*, std::string> files[] = {
      {"memory.max", absl::StrCat(limits.memory_bytes)},
      {"memory.swap.max", "0"},
      // A VM that has lost a guest process is no VM any more.
      {"memory.oom.group", "1"},
      {"cpu.max",
       absl::StrCat(uint64_t{limits.processors} * kPeriodMicroseconds, " ", kPeriodMicroseconds)},
      {"pids.max", absl::StrCat(limits.tasks)}};
  for (const auto& [file, text] : files) {
    std::string path = absl::StrCat(cgroup, "/", file);
    // A host without swap may have none of the files that limit it.
    const bool optional = absl::StrContains(file, "swap");
    if (!Write(path, text) && !(optional && errno == ENOENT)) return path;
  }
  return "";
}

uint64_t SizeOfFiles(const v1::VmSpec& spec) {
  uint64_t size = 0;
  for (const std::string& path : {spec.kernel_path(), spec.initrd_path(), spec.symbols_path()}) {
    struct stat info {};
    if (!path.empty() && stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode))
      size += static_cast<uint64_t>(info.st_size);
  }
  return size;
}

// Guest processes end a moment after their VMM. False: there are some yet.
bool AwaitEmpty(const std::string& cgroup) {
  const std::string path = cgroup + "/cgroup.events";
  base::UniqueFd events(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  while (events.valid()) {
    char text[256] = {};
    if (pread(events.get(), text, sizeof text - 1, 0) <= 0) return false;
    if (absl::StrContains(text, "populated 0")) return true;
    pollfd changed{events.get(), POLLPRI, 0};
    if (poll(&changed, 1, kEmptyMilliseconds) <= 0) return false;
  }
  return false;
}

}  // namespace

CgroupLimits LimitsFor(const v1::VmSpec& spec) {
  const uint32_t vcpus = std::max(spec.vcpus(), 1u);
  const uint64_t decoded = spec.engine() == v1::ENGINE_DIRECT ? 0 : kDecodedBytesPerVcpu;
  // On engine direct a guest and its VMM spin for each other.
  const uint32_t each = spec.engine() == v1::ENGINE_SOFT ? 1 : 2;
  return {spec.memory_bytes() + hypercall::OffsetsFor(vcpus).size + vcpus * decoded +
              kTimesFiles * SizeOfFiles(spec) + kWorkerBytes,
          vcpus * each + 1, kWorkerTasks + vcpus * kTasksPerVcpu};
}

CgroupTree CgroupTree::OfThisProcess() {
  CgroupTree tree;
  const std::string mount = MountPoint(), own = OwnPath();
  if (mount.empty() || own.empty()) {
    tree.missing_ = kNoVersion2;
    return tree;
  }
  const std::string cgroup = own == "/" ? mount : mount + own;
  if (!IsRoot(cgroup)) {
    tree.missing_ = HoldsOthers(cgroup)
                        ? absl::StrCat(cgroup, " is not the daemon's alone (systemd: Delegate=yes)")
                        : MoveDown(cgroup, "daemon");
  }
  if (!tree.missing_.empty()) return tree;
  return Below(cgroup);
}

CgroupTree CgroupTree::At(const std::string& path) {
  const std::string mount = MountPoint();
  CgroupTree tree;
  if (mount.empty()) {
    tree.missing_ = kNoVersion2;
    return tree;
  }
  const std::string cgroup = absl::StrCat(mount, "/", absl::StripPrefix(path, "/"));
  if (access((cgroup + "/cgroup.procs").c_str(), F_OK) != 0) {
    tree.missing_ = absl::StrCat("--worker-cgroup: ", cgroup, ": ", strerror(errno));
  } else {
    // It is the daemon's by its name, so whoever is there only keeps it.
    tree.missing_ = MoveDown(cgroup, "keeper");
  }
  return tree.missing_.empty() ? Below(cgroup) : tree;
}

CgroupTree CgroupTree::Below(const std::string& directory) {
  CgroupTree tree;
  tree.missing_ = HandDown(directory);
  if (tree.missing_.empty()) tree.directory_ = directory;
  return tree;
}

Measure CgroupTree::Join(const std::string& name, pid_t pid, const CgroupLimits& limits) const {
  if (directory_.empty()) return Unavailable(missing_);
  const std::string cgroup = absl::StrCat(directory_, "/", name);
  if (mkdir(cgroup.c_str(), 0755) != 0 && errno != EEXIST)
    return Unavailable(absl::StrCat(cgroup, ": ", strerror(errno)));
  if (const std::string failed = Limit(cgroup, limits); !failed.empty())
    return Unavailable(absl::StrCat(failed, ": ", strerror(errno)));
  if (!Write(cgroup + "/cgroup.procs", absl::StrCat(pid)))
    return Unavailable(absl::StrCat(cgroup, "/cgroup.procs: ", strerror(errno)));
  Measure measure;
  measure.set_name(kName);
  measure.set_state(Measure::APPLIED);
  measure.set_detail(absl::StrCat("at most ", limits.processors, " processors, ",
                                  limits.memory_bytes >> 20, " MiB, ", limits.tasks, " tasks"));
  return measure;
}

std::string CgroupTree::OutOfMemory(const std::string& name) const {
  if (directory_.empty()) return "";
  const std::string cgroup = absl::StrCat(directory_, "/", name);
  const std::vector<std::string> events = Words(cgroup + "/memory.events");
  const auto killed = std::find(events.begin(), events.end(), "oom_kill");
  if (killed == events.end() || killed + 1 == events.end() || *(killed + 1) == "0") return "";
  uint64_t limit = 0;
  const std::vector<std::string> most = Words(cgroup + "/memory.max");
  const bool limited = most.size() == 1 && absl::SimpleAtoi(most.front(), &limit);
  return absl::StrCat("out of memory (OOM): the VM",
                      limited ? absl::StrCat(" may take ", limit >> 20, " MiB,") : "",
                      " or its host has no more");
}

void CgroupTree::Remove(const std::string& name) const {
  const std::string cgroup = absl::StrCat(directory_, "/", name);
  if (directory_.empty() || access(cgroup.c_str(), F_OK) != 0) return;
  Write(cgroup + "/cgroup.kill", "1");
  AwaitEmpty(cgroup);
  rmdir(cgroup.c_str());
}

}  // namespace trapline::daemon
