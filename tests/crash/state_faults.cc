// SPDX-License-Identifier: Apache-2.0
// Preloaded into traplined: ends it, or takes images of its state directory, before each operation
// that changes a file there.
//
// An image is what would be found if it ended at this point:
//   killed  what it has written, as the kernel has it
//   cut     after a loss of power: of each file what it was when it was last synced, of the
//           directory the names that it had then
//   torn    the same, and of what was written since any sectors that happened to get to the disk
//
// TRAPLINE_FAULTS_STATE   the directory; nothing happens without
// TRAPLINE_FAULTS_IMAGES  where images go, each in a folder by the operation's number
// TRAPLINE_FAULTS_ACKED   a file that is copied into each image's folder
// TRAPLINE_FAULTS_KILL    the number of the operation that it is killed before
//
// -shm files are left out: SQLite makes them anew when nobody has them open.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr size_t kSector = 512;

template <typename Function>
Function Real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

struct Write {
  size_t offset;
  std::string bytes;
};

class Faults {
 public:
  static Faults& Get() {
    static Faults* faults = new Faults;
    return *faults;
  }

  void Opened(int fd, const char* path) {
    if (fd < 0 || state_.empty()) return;
    std::lock_guard lock(mutex_);
    const std::string name = path;
    if (name == state_) files_[fd] = "";
    if (name.starts_with(state_ + "/") && !name.ends_with("-shm"))
      files_[fd] = name.substr(state_.size() + 1);
  }
  void Closed(int fd) {
    std::lock_guard lock(mutex_);
    files_.erase(fd);
  }
  void BeforeWrite(int fd, const void* data, size_t size, off_t offset) {
    std::lock_guard lock(mutex_);
    auto file = files_.find(fd);
    if (file == files_.end()) return;
    Point();
    unsynced_[file->second].push_back(
        {static_cast<size_t>(offset), std::string(static_cast<const char*>(data), size)});
  }
  void Before(int fd) {
    std::lock_guard lock(mutex_);
    if (files_.count(fd) != 0) Point();
  }
  void BeforePath(const char* path) {
    std::lock_guard lock(mutex_);
    if (std::string(path).starts_with(state_ + "/") && !std::string(path).ends_with("-shm"))
      Point();
  }
  void Synced(int fd) {
    std::lock_guard lock(mutex_);
    auto file = files_.find(fd);
    if (file == files_.end()) return;
    if (file->second.empty()) {
      names_ = Names();
    } else {
      synced_[file->second] = Read(state_ + "/" + file->second);
      unsynced_.erase(file->second);
    }
  }

 private:
  Faults() {
    auto value = [](const char* name) { return std::string(getenv(name) ? getenv(name) : ""); };
    unsetenv("LD_PRELOAD");  // workers are no part of this
    state_ = value("TRAPLINE_FAULTS_STATE");
    images_ = value("TRAPLINE_FAULTS_IMAGES");
    acked_ = value("TRAPLINE_FAULTS_ACKED");
    kill_ = atol(value("TRAPLINE_FAULTS_KILL").c_str());
  }

  std::set<std::string> Names() {
    std::set<std::string> names;
    DIR* directory = opendir(state_.c_str());
    if (!directory) return names;
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (entry->d_type == DT_REG && !name.ends_with("-shm")) names.insert(name);
    }
    closedir(directory);
    return names;
  }
  static std::string Read(const std::string& path) {
    std::string bytes;
    int fd = Real<int (*)(const char*, int, ...)>("open")(path.c_str(), O_RDONLY | O_CLOEXEC);
    char buffer[1 << 16];
    ssize_t got;
    while (fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0)
      bytes.append(buffer, static_cast<size_t>(got));
    if (fd >= 0) Real<int (*)(int)>("close")(fd);
    return bytes;
  }
  static void Put(const std::string& path, const std::string& bytes) {
    int fd = Real<int (*)(const char*, int, ...)>("open")(path.c_str(),
                                                          O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    auto put = Real<ssize_t (*)(int, const void*, size_t)>("write");
    if (put(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) abort();
    Real<int (*)(int)>("close")(fd);
  }

  // The sectors of what was written since, each on the disk or not; the first image has the same
  // each time.
  std::string Torn(const std::string& name, std::string bytes) {
    std::minstd_rand random(static_cast<unsigned>(point_));
    for (const Write& write : unsynced_[name]) {
      for (size_t at = 0; at < write.bytes.size(); at += kSector) {
        if (random() % 2 == 0) continue;
        const std::string sector = write.bytes.substr(at, kSector);
        bytes.resize(std::max(bytes.size(), write.offset + at + sector.size()));
        bytes.replace(write.offset + at, sector.size(), sector);
      }
    }
    return bytes;
  }

  void Point() {
    ++point_;
    if (point_ == kill_) kill(getpid(), SIGKILL);
    if (images_.empty()) return;
    const std::string image = images_ + "/" + std::to_string(point_);
    mkdir(image.c_str(), 0700);
    for (const char* kind : {"/killed", "/cut", "/torn"}) mkdir((image + kind).c_str(), 0700);
    for (const std::string& name : Names())
      Put(image + "/killed/" + name, Read(state_ + "/" + name));
    for (const std::string& name : names_) {
      Put(image + "/cut/" + name, synced_[name]);
      Put(image + "/torn/" + name, Torn(name, synced_[name]));
    }
    Put(image + "/acked", Read(acked_));
  }

  std::string state_, images_, acked_;
  long kill_ = 0, point_ = 0;
  std::mutex mutex_;
  std::map<int, std::string> files_;  // empty: the directory
  std::map<std::string, std::string> synced_;
  std::map<std::string, std::vector<Write>> unsynced_;
  std::set<std::string> names_;
};

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int Open(const char* function, const char* path, int flags, mode_t mode) {
  if ((flags & O_CREAT) != 0) Faults::Get().BeforePath(path);
  int fd = Real<int (*)(const char*, int, ...)>(function)(path, flags, mode);
  Faults::Get().Opened(fd, path);
  return fd;
}

}  // namespace

#define TRAPLINE_EXPORT __attribute__((visibility("default")))

extern "C" {

TRAPLINE_EXPORT int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open("open", path, flags, mode);
}
TRAPLINE_EXPORT int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open("open64", path, flags, mode);
}
TRAPLINE_EXPORT int close(int fd) {
  Faults::Get().Closed(fd);
  return Real<int (*)(int)>("close")(fd);
}
TRAPLINE_EXPORT ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  Faults::Get().BeforeWrite(fd, data, size, offset);
  return Real<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64")(fd, data, size, offset);
}
TRAPLINE_EXPORT ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return pwrite64(fd, data, size, offset);
}
TRAPLINE_EXPORT ssize_t write(int fd, const void* data, size_t size) {
  Faults::Get().BeforeWrite(fd, data, size, lseek(fd, 0, SEEK_CUR));
  return Real<ssize_t (*)(int, const void*, size_t)>("write")(fd, data, size);
}
TRAPLINE_EXPORT int ftruncate64(int fd, off64_t size) noexcept {
  Faults::Get().Before(fd);
  return Real<int (*)(int, off64_t)>("ftruncate64")(fd, size);
}
TRAPLINE_EXPORT int ftruncate(int fd, off_t size) noexcept { return ftruncate64(fd, size); }
TRAPLINE_EXPORT int fsync(int fd) {
  Faults::Get().Before(fd);
  const int result = Real<int (*)(int)>("fsync")(fd);
  if (result == 0) Faults::Get().Synced(fd);
  return result;
}
TRAPLINE_EXPORT int fdatasync(int fd) {
  Faults::Get().Before(fd);
  const int result = Real<int (*)(int)>("fdatasync")(fd);
  if (result == 0) Faults::Get().Synced(fd);
  return result;
}
TRAPLINE_EXPORT int unlink(const char* path) noexcept {
  Faults::Get().BeforePath(path);
  return Real<int (*)(const char*)>("unlink")(path);
}
TRAPLINE_EXPORT int rename(const char* from, const char* to) noexcept {
  Faults::Get().BeforePath(to);
  return Real<int (*)(const char*, const char*)>("rename")(from, to);
}
}
