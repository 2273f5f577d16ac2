// SPDX-License-Identifier: Apache-2.0
// Calls that are given up together: those of a screen that is left, or of a page that is closed.
#pragma once

#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cli/session.h"

namespace trapline::cli::top {

// Thread-safe.
class CallScope {
 public:
  explicit CallScope(Session& session) : session_(session) {}

  // Ends the calls that are under way and those to come, and wakes who sleeps.
  void Cancel();
  bool cancelled() const;
  // False where it was cancelled meanwhile.
  bool Sleep(absl::Duration duration);

  // A context that Cancel cancels for as long as this lives.
  class Call {
   public:
    Call(CallScope& scope, Patience patience);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext& context() { return *context_; }

   private:
    CallScope& scope_;
    const std::unique_ptr<grpc::ClientContext> context_;
  };

  // One unary call.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Ask(Stub& stub,
                               grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                            Response*),
                               const Request& request, Patience patience = Patience::kPrompt) {
    Call call(*this, patience);
    Response response;
    const grpc::Status status = (stub.*method)(&call.context(), request, &response);
    if (!status.ok()) return session_.Explain(status);
    return response;
  }

  Session& session() { return session_; }

 private:
  Session& session_;
  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

// A status on one line: what was wrong, and what to do.
std::string OneLine(const absl::Status& status);

}  // namespace trapline::cli::top
