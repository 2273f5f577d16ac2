// SPDX-License-Identifier: Apache-2.0
// The loop.
#include "daemon/access/accept_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/thread.h"
#include "daemon/common/logging.h"

namespace trapline::daemon {
namespace {

// How long to leave clients waiting when they cannot be accepted; a connection that ends cuts it
// short.
constexpr int kPauseMs = 100;
constexpr absl::Duration kToldApart = absl::Seconds(10);
// Between looks at what else has happened.
constexpr int kAcceptsAtOnce = 64;

}  // namespace

absl::Status AcceptLoop::Start(std::vector<base::UniqueFd> listeners) {
  listeners_ = std::move(listeners);
  epoll_ = base::UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  stop_ = base::UniqueFd(eventfd(0, EFD_CLOEXEC));
  auto watch = [this](int fd) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  bool watched = epoll_.valid() && stop_.valid() && watch(stop_.get());
  for (const base::UniqueFd& listener : listeners_) watched = watched && watch(listener.get());
  if (!watched) return absl::ErrnoToStatus(errno, "cannot accept clients");
  auto thread = base::StartThread("accepting clients", [this] { Run(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

void AcceptLoop::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
  listeners_.clear();
  connections_.clear();
}

bool AcceptLoop::HandOver(base::UniqueFd connection, int listener,
                          grpc::experimental::ExternalConnectionAcceptor& acceptor,
                          std::function<void()> over) {
  base::UniqueFd duplicate(fcntl(connection.get(), F_DUPFD_CLOEXEC, 0));
  // EPOLLHUP alone, which comes when both directions are shut down.
  epoll_event event{0, {.fd = duplicate.get()}};
  if (!duplicate.valid() || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, duplicate.get(), &event) != 0) {
    Pause(errno);
    return false;
  }
  const int number = duplicate.get();
  connections_[number] = {std::move(duplicate), std::move(over)};
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener;
  parameters.fd = connection.Release();
  acceptor.HandleNewConnection(&parameters);
  return true;
}

void AcceptLoop::Run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 paused_ ? kPauseMs : -1);
    bool acceptable = paused_;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == stop_.get()) return;
      if (connections_.count(fd) != 0) {
        Forget(fd);
      } else {
        acceptable = true;
      }
    }
    if (!acceptable) continue;
    Watch(true);
    for (const base::UniqueFd& listener : listeners_) AcceptAll(listener.get());
  }
}

void AcceptLoop::AcceptAll(int listener) {
  for (int i = 0; i < kAcceptsAtOnce && !paused_ && AcceptOne(listener); ++i) {
  }
}

bool AcceptLoop::AcceptOne(int listener) {
  base::UniqueFd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.valid()) {
    admit_(std::move(connection), listener);
    return true;
  }
  // Those of a connection that is over before it was accepted (accept(2)) are not the listener's.
  switch (errno) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case ENONET:
    case EOPNOTSUPP:
      return true;
    case EAGAIN:
      return false;
    default:
      Pause(errno);
      return false;
  }
}

void AcceptLoop::Forget(int duplicate) {
  const auto found = connections_.find(duplicate);
  if (found == connections_.end()) return;
  // By itself epoll would forget it only when gRPC has closed its descriptor too.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, duplicate, nullptr);
  const std::function<void()> over = std::move(found->second.over);
  connections_.erase(found);
  over();
}

void AcceptLoop::Pause(int error) {
  if (const absl::Time now = absl::Now(); now >= told_ + kToldApart) {
    told_ = now;
    Log(spdlog::level::err, "clients have to wait: a connection cannot be accepted",
        {{"error", strerror(error)}});
  }
  Watch(false);
}

void AcceptLoop::Watch(bool listeners) {
  if (paused_ == !listeners) return;
  paused_ = !listeners;
  for (const base::UniqueFd& listener : listeners_) {
    epoll_event event{listeners ? uint32_t{EPOLLIN} : 0, {.fd = listener.get()}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener.get(), &event);
  }
}

}  // namespace trapline::daemon
