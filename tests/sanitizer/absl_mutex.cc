// SPDX-License-Identifier: Apache-2.0
// Tells the thread sanitizer about absl::Mutex.
//
// Debian's Abseil was built without the sanitizer, which therefore sees no order in anything that a
// mutex guards. In a build with -fsanitize=thread the linker sends our calls here (--wrap, see the
// top-level CMakeLists.txt), where they are announced on their way (compiler-rt,
// sanitizer/tsan_interface.h). Between "pre" and "post" the sanitizer looks away, which is right
// for conditions: whoever unlocks evaluates those of others with the lock still held.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#define TRAPLINE_LOCK _ZN4absl7debian35Mutex4LockEv
#define TRAPLINE_UNLOCK _ZN4absl7debian35Mutex6UnlockEv
#define TRAPLINE_AWAIT _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE
#define TRAPLINE_AWAIT_TIMEOUT \
  _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE
#define TRAPLINE_WAIT _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE
#define TRAPLINE_WAIT_TIMEOUT _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE
#define TRAPLINE_PASTE_NOW(prefix, name) prefix##name
#define TRAPLINE_PASTE(prefix, name) TRAPLINE_PASTE_NOW(prefix, name)
#define REAL(name) TRAPLINE_PASTE(__real_, name)
#define WRAP(name) TRAPLINE_PASTE(__wrap_, name)

namespace {

void Unlocked(absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
}

// A call that gives the lock away for a while.
template <typename Call>
auto Waiting(absl::Mutex* mutex, Call call) {
  Unlocked(mutex);
  __tsan_mutex_pre_lock(mutex, 0);
  auto result = call();
  __tsan_mutex_post_lock(mutex, 0, 0);
  return result;
}

}  // namespace

extern "C" {

void REAL(TRAPLINE_LOCK)(absl::Mutex*);
void WRAP(TRAPLINE_LOCK)(absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, 0);
  REAL(TRAPLINE_LOCK)(mutex);
  __tsan_mutex_post_lock(mutex, 0, 0);
}

void REAL(TRAPLINE_UNLOCK)(absl::Mutex*);
void WRAP(TRAPLINE_UNLOCK)(absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, 0);
  REAL(TRAPLINE_UNLOCK)(mutex);
  __tsan_mutex_post_unlock(mutex, 0);
}

void REAL(TRAPLINE_AWAIT)(absl::Mutex*, const absl::Condition*);
void WRAP(TRAPLINE_AWAIT)(absl::Mutex* mutex, const absl::Condition* condition) {
  Waiting(mutex, [&] {
    REAL(TRAPLINE_AWAIT)(mutex, condition);
    return true;
  });
}

bool REAL(TRAPLINE_AWAIT_TIMEOUT)(absl::Mutex*, const absl::Condition*, absl::Duration);
bool WRAP(TRAPLINE_AWAIT_TIMEOUT)(absl::Mutex* mutex, const absl::Condition* condition,
                                  absl::Duration timeout) {
  return Waiting(mutex, [&] { return REAL(TRAPLINE_AWAIT_TIMEOUT)(mutex, condition, timeout); });
}

void REAL(TRAPLINE_WAIT)(absl::CondVar*, absl::Mutex*);
void WRAP(TRAPLINE_WAIT)(absl::CondVar* variable, absl::Mutex* mutex) {
  Waiting(mutex, [&] {
    REAL(TRAPLINE_WAIT)(variable, mutex);
    return true;
  });
}

bool REAL(TRAPLINE_WAIT_TIMEOUT)(absl::CondVar*, absl::Mutex*, absl::Duration);
bool WRAP(TRAPLINE_WAIT_TIMEOUT)(absl::CondVar* variable, absl::Mutex* mutex,
                                 absl::Duration timeout) {
  return Waiting(mutex, [&] { return REAL(TRAPLINE_WAIT_TIMEOUT)(variable, mutex, timeout); });
}

}  // extern "C"
