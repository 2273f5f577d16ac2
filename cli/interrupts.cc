// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP end a command in good order.
#include "cli/interrupts.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace trapline::cli {
namespace {

// SIGUSR1 only wakes the waiter at the end; it is sent to that thread alone.
constexpr int kWakeSignal = SIGUSR1;

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kWakeSignal);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaddset(&set, signal);
  }
  return set;
}

// Ends the process the way the signal would have.
void DieBy(int signal) {
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(signal, &by_default, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
}

}  // namespace

Interrupts::Interrupts() : watched_(WatchedSignals()) {
  pthread_sigmask(SIG_BLOCK, &watched_, nullptr);
  waiter_ = std::thread([this] { Wait(); });
}

Interrupts::~Interrupts() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  pthread_kill(waiter_.native_handle(), kWakeSignal);
  waiter_.join();
}

bool Interrupts::interrupted() const {
  absl::MutexLock lock(&mutex_);
  return interrupted_;
}

void Interrupts::Wait() {
  while (true) {
    int signal = 0;
    if (sigwait(&watched_, &signal) != 0) continue;
    if (signal != kWakeSignal) OnSignal(signal);
    absl::MutexLock lock(&mutex_);
    if (ending_) return;
  }
}

void Interrupts::OnSignal(int signal) {
  // The action runs under the lock, so that a guard that goes away waits for it.
  absl::MutexLock lock(&mutex_);
  if (!action_) DieBy(signal);
  interrupted_ = true;
  std::exchange(action_, nullptr)();
}

Interrupts::Guard::Guard(Interrupts& interrupts, std::function<void()> action)
    : interrupts_(interrupts) {
  absl::MutexLock lock(&interrupts_.mutex_);
  interrupts_.action_ = std::move(action);
}

Interrupts::Guard::~Guard() {
  absl::MutexLock lock(&interrupts_.mutex_);
  interrupts_.action_ = nullptr;
}

}  // namespace trapline::cli
