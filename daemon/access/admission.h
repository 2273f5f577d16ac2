// SPDX-License-Identifier: Apache-2.0
// Tells gRPC who is at the other end of each connection, and turns away who has no role.
//
// An AuthMetadataProcessor sees each call before anything else does. It is the one place where
// gRPC lets a server write into a connection's AuthContext, which is where handlers and
// interceptors find the caller then.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/access/authorizer.h"
#include "daemon/access/caller.h"
#include "grpcpp/security/auth_metadata_processor.h"

namespace trapline::daemon {

// Thread-safe. All calls of a connection come to the same one.
class Admission : public grpc::AuthMetadataProcessor {
 public:
  // A look at a map; another thread would cost more than it.
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata* response) final;

 protected:
  virtual Caller Identify(const grpc::AuthContext& context) = 0;

 private:
  // The first of a connection's calls writes into its context, while others may come already.
  absl::Mutex mutex_;
};

// Connections that the accept loop has put into one slot, all of them one user's.
class PeerAdmission final : public Admission {
 public:
  // Before the first connection. Never again: a call may still be on its way.
  void Assign(Caller caller) ABSL_LOCKS_EXCLUDED(caller_mutex_);

 protected:
  Caller Identify(const grpc::AuthContext& context) override ABSL_LOCKS_EXCLUDED(caller_mutex_);

 private:
  absl::Mutex caller_mutex_;
  Caller caller_ ABSL_GUARDED_BY(caller_mutex_);
};

// Connections over TLS, with a certificate that has been verified.
class CertificateAdmission final : public Admission {
 public:
  // Told of each call that is turned away.
  using OnRefused = std::function<void(const Caller& caller, const std::string& reason)>;

  CertificateAdmission(std::shared_ptr<const Authorizer> authorizer, OnRefused on_refused)
      : authorizer_(std::move(authorizer)), on_refused_(std::move(on_refused)) {}

 protected:
  Caller Identify(const grpc::AuthContext& context) override;

 private:
  const std::shared_ptr<const Authorizer> authorizer_;
  const OnRefused on_refused_;
};

}  // namespace trapline::daemon
