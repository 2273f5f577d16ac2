// SPDX-License-Identifier: Apache-2.0
// What every command works with: the daemon's services, deadlines, the output, signals.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/endpoint.h"
#include "cli/interrupts.h"
#include "cli/output.h"
#include "cli/status.h"
#include "grpcpp/grpcpp.h"
#include "trapline/v1/host.grpc.pb.h"
#include "trapline/v1/sites.grpc.pb.h"
#include "trapline/v1/traces.grpc.pb.h"
#include "trapline/v1/vms.grpc.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

// The flags that commands have in common.
struct SessionOptions {
  EndpointFlags endpoint;
  std::string output = "table";
  bool remote = true;  // false: the command asks nothing of the daemon
  absl::Duration timeout = absl::InfiniteDuration();  // for the whole command
};

// How long a call may take where --timeout says nothing.
enum class Patience {
  kPrompt,   // an answer that needs no guest: kPromptDeadline
  kEndless,  // streams and waits
  kCleanUp,  // what has to be done even when --timeout has passed: kCleanUpDeadline, from now
};
constexpr absl::Duration kPromptDeadline = absl::Seconds(60);
constexpr absl::Duration kCleanUpDeadline = absl::Seconds(30);

// Thread-safe, but for the output.
class Session {
 public:
  static absl::StatusOr<std::unique_ptr<Session>> Open(const SessionOptions& options,
                                                       Formats formats, Interrupts& interrupts);

  v1::Vms::Stub& vms() { return *vms_; }
  v1::Sites::Stub& sites() { return *sites_; }
  v1::Traces::Stub& traces() { return *traces_; }
  v1::Host::Stub& host() { return *host_; }
  const Output& output() const { return output_; }
  Interrupts& interrupts() { return interrupts_; }

  // A context with the deadline that --timeout and `patience` give.
  std::unique_ptr<grpc::ClientContext> Context(Patience patience) const;

  // What a call that ended like this means to people: an unreachable daemon is explained.
  absl::Status Explain(const grpc::Status& status) const;

  // One unary call.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
      const Request& request, Patience patience = Patience::kPrompt) const {
    const std::unique_ptr<grpc::ClientContext> context = Context(patience);
    Response response;
    const grpc::Status status = (stub.*method)(context.get(), request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

 private:
  Session(Endpoint endpoint, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
          absl::Time deadline, Output output, Interrupts& interrupts);

  const Endpoint endpoint_;
  const absl::Time deadline_;
  const Output output_;
  Interrupts& interrupts_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Vms::Stub> vms_;
  std::unique_ptr<v1::Sites::Stub> sites_;
  std::unique_ptr<v1::Traces::Stub> traces_;
  std::unique_ptr<v1::Host::Stub> host_;
};

// A fresh id (a random UUID) for a call that may be retried.
std::string NewRequestId();

}  // namespace trapline::cli
