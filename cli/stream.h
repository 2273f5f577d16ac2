// SPDX-License-Identifier: Apache-2.0
// Reading a server's stream to its end, to Ctrl-C, or until the command has seen enough.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "cli/exit_code.h"
#include "cli/session.h"

namespace trapline::cli {

// `open(context)` makes the reader; `take(message)` is true to go on. Ctrl-C and having seen enough
// are good ends: kOk.
template <typename Message, typename Open, typename Take, typename Ready>
absl::StatusOr<int> ReadStream(Session& session, Open open, Take take, Ready ready) {
  const std::unique_ptr<grpc::ClientContext> context = session.Context(Patience::kEndless);
  const Interrupts::Guard guard(session.interrupts(), [&context] { context->TryCancel(); });
  const std::unique_ptr<grpc::ClientReader<Message>> reader = open(context.get());
  reader->WaitForInitialMetadata();
  ready();
  Message message;
  absl::Status taken;
  bool enough = false;
  while (!enough && reader->Read(&message)) {
    const absl::StatusOr<bool> go_on = take(message);
    taken = go_on.status();
    enough = !go_on.ok() || !*go_on;
  }
  if (enough) context->TryCancel();
  const grpc::Status status = reader->Finish();
  if (!taken.ok()) return taken;
  if (status.ok() || enough || session.interrupts().interrupted()) return kOk;
  return session.Explain(status);
}

template <typename Message, typename Open, typename Take>
absl::StatusOr<int> ReadStream(Session& session, Open open, Take take) {
  return ReadStream<Message>(session, open, take, [] {});
}

}  // namespace trapline::cli
