// SPDX-License-Identifier: Apache-2.0
// Starting the zygote, asking it, burying it.
#include "daemon/control/zygote.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "daemon/common/logging.h"
#include "daemon/common/zygote_protocol.h"

namespace trapline::daemon {
namespace {

// A worker's socket path is shorter than sun_path.
constexpr size_t kArgumentRoom = 128;

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

int Spawn(std::vector<std::string> words, int inherited, char* variable, pid_t* pid) {
  std::vector<char*> argv = Pointers(words), environment;
  for (char** entry = environ; *entry; ++entry) environment.push_back(*entry);
  if (variable) environment.push_back(variable);
  environment.push_back(nullptr);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, inherited, kInheritedFd);
  int error = posix_spawn(pid, argv[0], &actions, &attributes, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

Zygote::Zygote(std::vector<std::string> words) : words_(std::move(words)) {
  absl::MutexLock lock(&mutex_);
  Start();
}

Zygote::~Zygote() {
  absl::MutexLock lock(&mutex_);
  End();
}

bool Zygote::Start() {
  std::vector<std::string> words = words_;
  words.insert(words.end(), {"--zygote", "--room", std::string(kArgumentRoom, '-')});
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return false;
  base::UniqueFd ours(pair[0]), theirs(pair[1]);
  char bind_now[] = "LD_BIND_NOW=1";  // symbols are bound once, not in each worker
  if (stat(words[0].c_str(), &program_) != 0 || Spawn(words, theirs.get(), bind_now, &pid_) != 0)
    return false;
  control_ = std::move(ours);
  return true;
}

void Zygote::End() {
  if (!control_.valid()) return;
  control_.Reset();
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool Zygote::SameProgram() const {
  struct stat now {};
  return stat(words_[0].c_str(), &now) == 0 && now.st_ino == program_.st_ino &&
         now.st_dev == program_.st_dev && now.st_mtim.tv_sec == program_.st_mtim.tv_sec &&
         now.st_mtim.tv_nsec == program_.st_mtim.tv_nsec;
}

bool Zygote::Ask(const std::string& socket, const std::vector<std::string>& files, int ready) {
  std::string paths = socket;
  for (const std::string& file : files) paths.append(1, '\0').append(file);
  if (paths.size() > kMaxZygoteRequest) return false;
  iovec part{paths.data(), paths.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> rights{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = rights.data();
  message.msg_controllen = rights.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof ready);
  memcpy(CMSG_DATA(header), &ready, sizeof ready);

  absl::MutexLock lock(&mutex_);
  if (failures_ >= kMaxFailures) return false;
  if (control_.valid() && !SameProgram()) End();
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!control_.valid() && !Start()) return false;
    if (sendmsg(control_.get(), &message, MSG_NOSIGNAL) >= 0) return true;
    End();
  }
  return false;
}

void Zygote::Failed() {
  absl::MutexLock lock(&mutex_);
  End();
  if (++failures_ == kMaxFailures)
    Log(spdlog::level::warn, "the zygote is of no use; each worker is started by itself",
        {{"program", words_[0]}});
}

void Zygote::Succeeded() {
  absl::MutexLock lock(&mutex_);
  failures_ = 0;
}

}  // namespace trapline::daemon
