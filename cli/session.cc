// SPDX-License-Identifier: Apache-2.0
// What every command works with.
#include "cli/session.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "cli/terminal.h"
#include "grpc/grpc.h"

namespace trapline::cli {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
// Who waits for a daemon to come back should not wait much longer than it takes.
constexpr int kMaxReconnectMs = 2000;
// A machine that is gone says nothing, and a watch would wait for it for ever.
constexpr int kKeepaliveMs = 15'000, kKeepaliveTimeoutMs = 10'000;

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Open(const SessionOptions& options,
                                                       Formats formats, Interrupts& interrupts) {
  Format format = Format::kTable;
  if (formats != 0) {
    const absl::Status status = ParseFormat(options.output, formats, format);
    if (!status.ok()) return status;
  }
  // A command that asks nothing of the daemon does not stumble over how it would be reached.
  absl::StatusOr<Endpoint> endpoint =
      options.remote ? ChooseEndpoint(options.endpoint) : Endpoint{};
  if (!endpoint.ok()) return endpoint.status();
  auto credentials = CredentialsOf(*endpoint);
  if (!credentials.ok()) return credentials.status();
  return std::unique_ptr<Session>(
      new Session(*std::move(endpoint), *std::move(credentials), absl::Now() + options.timeout,
                  Output(format, UsesColour(STDOUT_FILENO)), interrupts));
}

Session::Session(Endpoint endpoint, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                 absl::Time deadline, Output output, Interrupts& interrupts)
    : endpoint_(std::move(endpoint)),
      deadline_(deadline),
      output_(output),
      interrupts_(interrupts) {
  if (endpoint_.address.grpc_target.empty()) return;  // nothing is asked of any daemon
  // Never undone: taking gRPC 1.51 down can wait ten seconds for a poller of its own.
  grpc_init();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // it could not pass our certificate on
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  if (endpoint_.address.unix_path.empty()) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  channel_ = grpc::CreateCustomChannel(endpoint_.address.grpc_target, credentials, arguments);
  vms_ = v1::Vms::NewStub(channel_);
  sites_ = v1::Sites::NewStub(channel_);
  traces_ = v1::Traces::NewStub(channel_);
  host_ = v1::Host::NewStub(channel_);
}

std::unique_ptr<grpc::ClientContext> Session::Context(Patience patience) const {
  auto context = std::make_unique<grpc::ClientContext>();
  absl::Time deadline = deadline_;
  if (patience == Patience::kPrompt && deadline == absl::InfiniteFuture()) {
    deadline = absl::Now() + kPromptDeadline;
  }
  if (patience == Patience::kCleanUp) deadline = absl::Now() + kCleanUpDeadline;
  if (deadline != absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
  return context;
}

absl::Status Session::Explain(const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
      status.error_details().empty()) {
    return absl::DeadlineExceededError("the time allowed has passed");
  }
  const absl::Status failure = FromGrpc(status);
  // What the daemon itself says carries details; without them it was gRPC on this side that gave
  // up.
  const bool unreachable =
      status.error_code() == grpc::StatusCode::UNAVAILABLE && status.error_details().empty();
  return unreachable ? ExplainUnreachable(endpoint_, failure) : failure;
}

std::string NewRequestId() {
  std::array<char, 16> bytes{};
  (void)getrandom(bytes.data(), bytes.size(), 0);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);  // RFC 4122: version 4,
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);  // variant 1
  const std::string hex = absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

}  // namespace trapline::cli
