// SPDX-License-Identifier: Apache-2.0
// The mappings of this process and what becomes of a SIGBUS in them.
#include "core/base/mapped_file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace trapline::base {
namespace {

constexpr uintptr_t kPage = 4096;

// Read by the signal handler, so without a lock: end is zero in a free slot and set last.
struct Slot {
  std::atomic<uintptr_t> start{0}, end{0};
  std::atomic<bool> taken{false};
};
std::array<Slot, 4096> slots;
struct sigaction previous;

void OnBusError(int signal, siginfo_t* info, void*) {
  int saved = errno;
  auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Slot& slot : slots) {
    if (address < slot.start.load() || address >= slot.end.load()) continue;
    void* page = reinterpret_cast<void*>(address & ~(kPage - 1));
    if (mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
        MAP_FAILED)
      break;
    errno = saved;
    return;
  }
  // Not ours: the instruction runs again and meets whoever was here first.
  sigaction(signal, &previous, nullptr);
  errno = saved;
}

void HandleBusErrors() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGBUS, &action, &previous);
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Map(int fd, uint64_t size, Mode mode) {
  HandleBusErrors();
  size_t index = 0;
  while (index < slots.size() && slots[index].taken.exchange(true)) ++index;
  if (index == slots.size())
    return absl::ResourceExhaustedError(absl::StrCat("more than ", slots.size(), " mapped files"));
  Slot& slot = slots[index];
  int protection = mode == Mode::kReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) {
    slot.taken = false;
    return errno == ENOMEM ? absl::ResourceExhaustedError(strerror(errno))
                           : absl::UnavailableError(strerror(errno));
  }
  // What is touched is a record here and a counter there: reading ahead would fill memory with the
  // holes of a sparse file. Where the advice is not taken, nothing is wrong.
  madvise(data, size, MADV_RANDOM);
  slot.start = reinterpret_cast<uintptr_t>(data);
  slot.end = reinterpret_cast<uintptr_t>(data) + size;
  return std::unique_ptr<MappedFile>(new MappedFile(static_cast<std::byte*>(data), size, index));
}

MappedFile::~MappedFile() {
  Slot& slot = slots[slot_];
  slot.end = 0;
  munmap(data_, size_);
  slot.taken = false;
}

}  // namespace trapline::base
