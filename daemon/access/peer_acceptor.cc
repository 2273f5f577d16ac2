// SPDX-License-Identifier: Apache-2.0
// The accept loop.
#include "daemon/access/peer_acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/thread.h"
#include "daemon/common/logging.h"
#include "grpcpp/security/server_credentials.h"

namespace trapline::daemon {
namespace {

using grpc::ServerBuilder;

// How long to leave clients waiting when they cannot be accepted; a connection that ends cuts it
// short.
constexpr int kPauseMs = 100;
// Between looks at what else has happened.
constexpr int kAcceptsAtOnce = 64;
// Who may not come in can still try as often as it likes, and must not fill logs with it.
constexpr absl::Duration kReportWindow = absl::Seconds(10);
constexpr uint64_t kReportsAtMost = 20;

}  // namespace

PeerAcceptor::PeerAcceptor(std::shared_ptr<const Authorizer> authorizer,
                           grpc::ServerBuilder& builder, OnRefused on_refused)
    : authorizer_(std::move(authorizer)),
      on_refused_(std::move(on_refused)),
      slots_(authorizer_->config().socket.max_users) {
  for (Slot& slot : slots_) {
    slot.admission = std::make_shared<PeerAdmission>();
    // These are what can have an Admission; on the wire they are the same as insecure ones, and
    // they insist on a Unix socket.
    auto credentials = grpc::experimental::LocalServerCredentials(UDS);
    credentials->SetAuthMetadataProcessor(slot.admission);
    slot.acceptor = builder.experimental().AddExternalConnectionAcceptor(
        ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  }
}

PeerAcceptor::~PeerAcceptor() { Stop(); }

absl::Status PeerAcceptor::Start(base::UniqueFd listener) {
  listener_ = std::move(listener);
  epoll_ = base::UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  stop_ = base::UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!epoll_.valid() || !stop_.valid()) return absl::ErrnoToStatus(errno, "cannot accept clients");
  for (int fd : {stop_.get(), listener_.get()}) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return absl::ErrnoToStatus(errno, "cannot accept clients");
  }
  auto thread = base::StartThread("accepting clients", [this] { Run(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

void PeerAcceptor::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
  listener_.Reset();
  connections_.clear();
}

void PeerAcceptor::Run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 paused_ ? kPauseMs : -1);
    bool acceptable = paused_;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == stop_.get()) return;
      if (fd == listener_.get()) {
        acceptable = true;
      } else {
        Forget(fd);
      }
    }
    if (!acceptable) continue;
    Watch(true);
    for (int i = 0; i < kAcceptsAtOnce && AcceptOne(); ++i) {
    }
  }
}

bool PeerAcceptor::AcceptOne() {
  base::UniqueFd connection(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.valid()) {
    Admit(std::move(connection));
    starved_ = starved_ && paused_;
    return !paused_;
  }
  if (errno == EINTR || errno == ECONNABORTED) return true;
  if (errno != EAGAIN) Pause(errno);
  return false;
}

void PeerAcceptor::Admit(base::UniqueFd connection) {
  const auto peer = PeerOf(connection.get());
  if (!peer.ok()) {
    Log(spdlog::level::warn, "a peer could not be identified",
        {{"error", std::string(peer.status().message())}});
    return;
  }
  const Caller caller = authorizer_->Identify(*peer);
  if (caller.role == v1::ROLE_UNSPECIFIED) return Refuse(caller, "no role");
  Slot* slot = SlotOf({peer->uid, caller.role}, caller);
  if (slot == nullptr) {
    return Refuse(caller, absl::StrCat("[socket] max_users = ", slots_.size(),
                                       " others have been here since traplined started"));
  }
  const uint32_t most = authorizer_->config().socket.max_connections_per_user;
  if (slot->connections >= most) {
    return Refuse(caller, absl::StrCat("[socket] max_connections_per_user = ", most,
                                       " connections are open"));
  }
  base::UniqueFd duplicate(fcntl(connection.get(), F_DUPFD_CLOEXEC, 0));
  // EPOLLHUP alone, which comes when both directions are shut down.
  epoll_event event{0, {.fd = duplicate.get()}};
  if (!duplicate.valid() || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, duplicate.get(), &event) != 0)
    return Pause(errno);
  ++slot->connections;
  const int number = duplicate.get();
  connections_[number] = {std::move(duplicate), static_cast<size_t>(slot - slots_.data())};
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener_.get();
  parameters.fd = connection.Release();
  slot->acceptor->HandleNewConnection(&parameters);
}

void PeerAcceptor::Refuse(const Caller& caller, const std::string& reason) {
  const absl::Time now = absl::Now();
  if (now >= window_end_) {
    if (unreported_ != 0) on_refused_({}, absl::StrCat(unreported_, " more were refused"));
    window_end_ = now + kReportWindow;
    reported_ = unreported_ = 0;
  }
  if (reported_ < kReportsAtMost) {
    ++reported_;
    on_refused_(caller, reason);
  } else {
    ++unreported_;
  }
}

PeerAcceptor::Slot* PeerAcceptor::SlotOf(const SlotKey& key, const Caller& caller) {
  const auto known = taken_.find(key);
  if (known != taken_.end()) return &slots_[known->second];
  if (taken_.size() == slots_.size()) return nullptr;
  const size_t index = taken_.size();
  taken_[key] = index;
  slots_[index].admission->Assign(caller);
  return &slots_[index];
}

void PeerAcceptor::Forget(int duplicate) {
  const auto found = connections_.find(duplicate);
  if (found == connections_.end()) return;
  // By itself epoll would forget it only when gRPC has closed its descriptor too.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, duplicate, nullptr);
  --slots_[found->second.second].connections;
  connections_.erase(found);
}

void PeerAcceptor::Pause(int error) {
  if (!std::exchange(starved_, true)) {
    Log(spdlog::level::err, "clients have to wait: a connection cannot be accepted",
        {{"error", strerror(error)}});
  }
  Watch(false);
}

void PeerAcceptor::Watch(bool listener) {
  if (paused_ == !listener) return;
  paused_ = !listener;
  epoll_event event{listener ? uint32_t{EPOLLIN} : 0, {.fd = listener_.get()}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.get(), &event);
}

}  // namespace trapline::daemon
