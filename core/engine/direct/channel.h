// SPDX-License-Identifier: Apache-2.0
// The VMM's end of what it shares with a guest process: whose turn it is, and the console ring.
//
// Guest code can write to all of it at any time. What is read here is copied once; a turn that was
// not handed over properly is served like any other, on what the copy says.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/engine/direct/guest_code.h"
#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {

// For one vCPU's thread, but for End.
class Channel {
 public:
  // console is called with what was posted. RESOURCE_EXHAUSTED where the host has no room.
  static absl::StatusOr<std::unique_ptr<Channel>> Create(
      std::function<void(std::string_view)> console);

  int fd() const { return area_->fd(); }
  ControlPage& control() { return *reinterpret_cast<ControlPage*>(area_->data()); }

  // Clears it for a new process, which has the turn first. INVALID_ARGUMENT: too many mappings.
  absl::Status Prepare(Setup setup, std::span<const Mapping> mappings, std::span<const Gap> gaps);

  // Gives the turn to the guest process.
  void PassTurn();
  // Waits until it comes back, and takes what was posted meanwhile. Once a second, whatever the
  // guest does, tick is asked whether to wait on. False: the process ended, or tick said no.
  bool AwaitTurn(absl::FunctionRef<bool()> tick);

  // The process ended. Any thread.
  void End();
  bool ended() const { return ended_.load(); }

 private:
  Channel(std::unique_ptr<SharedArea> area, std::function<void(std::string_view)> console)
      : area_(std::move(area)), console_(std::move(console)) {}

  // Anything but the guest's: it may have written what it likes.
  bool HostsTurn() {
    return control().turn.load(std::memory_order_acquire) != static_cast<uint32_t>(Turn::kGuest);
  }
  uint64_t Posted();
  // How many records were taken.
  uint64_t TakePosted();
  // Until it is woken, or for a while.
  void Sleep(enum Sleep how);

  static constexpr auto kHostsTurn = static_cast<uint32_t>(Turn::kHost);

  const std::unique_ptr<SharedArea> area_;
  const std::function<void(std::string_view)> console_;
  std::atomic<bool> ended_{false};
  uint64_t tail_ = 0;
  std::string text_;
};

}  // namespace trapline::engine::direct
