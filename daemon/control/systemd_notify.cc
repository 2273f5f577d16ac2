// SPDX-License-Identifier: Apache-2.0
// The thread that tells systemd.
#include "daemon/control/systemd_notify.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/thread.h"
#include "daemon/common/logging.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"

namespace trapline::daemon {
namespace {

// Of the status, where there is no watchdog that would ask for more.
constexpr std::chrono::microseconds kStatusInterval = std::chrono::seconds(10);
// Two may come late, or the machine be busy for that long, before the watchdog bites.
constexpr int kSignsEachTimeout = 3;
constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";

std::string StatusLine(Registry& registry) {
  const auto vms = registry.All();
  const auto running = std::count_if(vms.begin(), vms.end(),
                                     [](const auto& vm) { return vm->state() == v1::Vm::RUNNING; });
  return absl::StrCat("STATUS=", vms.size(), vms.size() == 1 ? " VM, " : " VMs, ", running,
                      " running");
}

bool IsAnswer(grpc::StatusCode code) {
  return code != grpc::UNAVAILABLE && code != grpc::DEADLINE_EXCEEDED && code != grpc::CANCELLED;
}

}  // namespace

SystemdNotify::SystemdNotify(Registry& registry, std::string socket)
    : registry_(registry), socket_(std::move(socket)), interval_(kStatusInterval) {
  if (!getenv("NOTIFY_SOCKET")) return;
  uint64_t timeout = 0;
  watched_ = sd_watchdog_enabled(0, &timeout) > 0;
  if (watched_) {
    interval_ = std::min(interval_,
                         std::chrono::microseconds(std::max<uint64_t>(timeout, kSignsEachTimeout)) /
                             kSignsEachTimeout);
  }
  sd_notify(0, absl::StrCat("READY=1\n", StatusLine(registry_)).c_str());
  auto beat = base::StartThread("telling systemd of the daemon", [this] { Beat(); });
  if (beat.ok()) {
    beat_ = *std::move(beat);
  } else {
    Log(spdlog::level::err, "systemd hears no more of this daemon, and may start another",
        {{"reason", std::string(beat.status().message())}});
  }
}

void SystemdNotify::Stopping() {
  if (!beat_.joinable()) return;
  sd_notify(0, "STOPPING=1\nSTATUS=ending");
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  beat_.join();
}

void SystemdNotify::Beat() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&ending_), absl::FromChrono(interval_))) return;
    }
    std::string said = StatusLine(registry_);
    if (watched_) {
      const std::string wrong = CallItself();
      absl::StrAppend(&said,
                      wrong.empty() ? "\nWATCHDOG=1" : "; it does not answer itself: ", wrong);
    }
    absl::MutexLock lock(&mutex_);
    if (!ending_) sd_notify(0, said.c_str());
  }
}

std::string SystemdNotify::CallItself() {
  grpc::ChannelArguments arguments;
  // Or channels to equal targets share a connection, which proves nothing of the next one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  grpc::GenericStub stub(
      grpc::CreateCustomChannel("unix:" + socket_, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + interval_);
  // No byte: the service "", which is the daemon as a whole.
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  struct {
    bool done = false;
    grpc::Status status;
  } call;
  stub.UnaryCall(&context, kHealthCheck, {}, &request, &response, [&](grpc::Status status) {
    absl::MutexLock lock(&mutex_);
    call.status = std::move(status);
    call.done = true;
  });
  absl::MutexLock lock(&mutex_);
  auto over = [&] { return call.done || ending_; };
  mutex_.Await(absl::Condition(&over));
  if (!call.done) context.TryCancel();
  mutex_.Await(absl::Condition(&call.done));
  if (IsAnswer(call.status.error_code())) return "";
  return absl::StrCat("code ", static_cast<int>(call.status.error_code()), ", ",
                      call.status.error_message());
}

}  // namespace trapline::daemon
