// SPDX-License-Identifier: Apache-2.0
// Building the root and moving in.
//
//   1. Nothing that is mounted here reaches other namespaces from now on.
//   2. What shall be seen is taken hold of, as mounts that are not attached anywhere yet.
//   3. An empty file system of memory is mounted over the directory, which is sure to be there, and
//      the mounts are attached inside of it.
//   4. pivot_root(2) with the same place for both puts the new root over the old one, whose mounts
//      are then detached: nothing leads there any more.
//   5. The root becomes read-only. In the directory no program can be executed.
//
// Up to the pivot everything can be taken back by unmounting what was mounted in step 3.
#include "daemon/vmm/confinement/private_root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {
namespace {

constexpr char kTasks[] = "/proc/self/task";
constexpr unsigned long kBare = MS_NOSUID | MS_NODEV | MS_NOEXEC;

base::UniqueFd TakeHold(const char* path) {
  return base::UniqueFd(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

// The path below the working directory, and all directories on the way.
std::string MakeBelow(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    mkdir(path.substr(1, at - 1).c_str(), 0755);
  mkdir(path.c_str() + 1, 0755);
  return path.substr(1);
}

bool Attach(const base::UniqueFd& mount, const std::string& path) {
  return move_mount(mount.get(), "", AT_FDCWD, MakeBelow(path).c_str(), MOVE_MOUNT_F_EMPTY_PATH) ==
         0;
}

// Null, or the step that failed, with errno.
const char* Fill(const base::UniqueFd& directory, const std::string& path,
                 const base::UniqueFd& tasks) {
  if (chdir(path.c_str()) != 0) return "entering the new root";
  if (!Attach(directory, path)) return "attaching the VM's directory";
  if (!Attach(tasks, kTasks)) return "attaching /proc/self/task";
  mount_attr bare{};
  bare.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (mount_setattr(directory.get(), "", AT_EMPTY_PATH, &bare, sizeof bare) != 0)
    return "restricting the VM's directory";
  if (mount(nullptr, ".", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kBare, nullptr) != 0)
    return "making the new root read-only";
  return nullptr;
}

const char* MoveIn(const std::string& path) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return "making mounts private";
  const base::UniqueFd directory = TakeHold(path.c_str()), tasks = TakeHold(kTasks);
  if (!directory.valid()) return "taking hold of the VM's directory";
  if (!tasks.valid()) return "taking hold of /proc/self/task";
  if (mount("trapline", path.c_str(), "tmpfs", kBare, "size=64k,nr_inodes=256,mode=0755") != 0)
    return "mounting a file system of memory";
  const char* failed = Fill(directory, path, tasks);
  if (!failed && syscall(SYS_pivot_root, ".", ".") != 0) failed = "changing the root";
  if (failed) {
    const int error = errno;
    umount2(path.c_str(), MNT_DETACH);
    errno = error;
    return failed;
  }
  if (umount2(".", MNT_DETACH) != 0) return "letting go of the old root";
  return chdir("/") == 0 ? nullptr : "entering the new root";
}

}  // namespace

Measure EnterPrivateRoot(const std::string& directory) {
  if (const char* failed = MoveIn(directory))
    return MakeMeasure("root", Measure::UNAVAILABLE, absl::StrCat(failed, ": ", strerror(errno)));
  return MakeMeasure("root", Measure::APPLIED, absl::StrCat("nothing but ", directory));
}

}  // namespace trapline::daemon
