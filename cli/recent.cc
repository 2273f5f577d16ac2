// SPDX-License-Identifier: Apache-2.0
// What a VM did lately.
//
// Both streams begin with what is on record. That of a VM that is over ends behind it; that of one
// that runs goes on, and nothing in it says where the record ended. The console's comes in one
// piece, the first; a hypercall tells its time. kPatience is for a VM that has nothing on record.
#include "cli/recent.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/time/clock.h"
#include "cli/names.h"
#include "cli/output.h"

namespace trapline::cli {
namespace {

constexpr auto kPatience = std::chrono::seconds(2);
constexpr uint32_t kMostHypercalls = 10000;

bool IsOver(const v1::Vm& vm) {
  return vm.state() == v1::Vm::STOPPED || vm.state() == v1::Vm::FAILED;
}

// A stream of a running VM is cut off here, one way or the other.
std::unique_ptr<grpc::ClientContext> ContextFor(Session& session, const v1::Vm& vm) {
  std::unique_ptr<grpc::ClientContext> context = session.Context(Patience::kPrompt);
  if (!IsOver(vm))
    context->set_deadline(
        std::min(context->deadline(), std::chrono::system_clock::now() + kPatience));
  return context;
}

// How a stream that we may have cut off ended.
absl::Status EndOf(Session& session, const v1::Vm& vm, const grpc::Status& status) {
  const bool cut = status.error_code() == grpc::StatusCode::CANCELLED ||
                   status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  return status.ok() || (cut && !IsOver(vm)) ? absl::OkStatus() : session.Explain(status);
}

}  // namespace

absl::StatusOr<std::string> RecentConsole(Session& session, const v1::Vm& vm) {
  if (vm.state() == v1::Vm::CREATED) return absl::NotFoundError("it has not been started");
  const std::unique_ptr<grpc::ClientContext> context = ContextFor(session, vm);
  const auto stream = session.vms().Console(context.get());
  v1::ConsoleRequest request;
  request.set_name(vm.name());
  if (stream->Write(request)) stream->WritesDone();
  std::string output;
  v1::ConsoleResponse response;
  while (stream->Read(&response)) {
    output += response.output();
    if (IsOver(vm)) continue;
    context->TryCancel();
    break;
  }
  const absl::Status end = EndOf(session, vm, stream->Finish());
  if (!end.ok()) return end;
  if (output.empty()) return absl::NotFoundError("it has written nothing that is still kept");
  return output;
}

absl::Status RecentHypercalls(Session& session, const v1::Vm& vm, const Sink& sink) {
  if (vm.state() == v1::Vm::CREATED) return absl::NotFoundError("it has not been started");
  const absl::Time asked = absl::Now();
  const std::unique_ptr<grpc::ClientContext> context = ContextFor(session, vm);
  v1::StreamHypercallsRequest request;
  request.set_parent(vm.name());
  request.set_last(kMostHypercalls);
  const auto stream = session.traces().StreamHypercalls(context.get(), request);
  v1::StreamHypercallsResponse response;
  absl::Status written;
  uint32_t count = 0;
  bool enough = false;
  while (!enough && written.ok() && stream->Read(&response)) {
    std::string lines;
    for (const v1::TraceRecord& record : response.records()) {
      enough = count == kMostHypercalls || ToAbsl(record.time()) > asked;
      if (enough) break;
      ++count;
      lines += ToJson(record, false);
    }
    if (!lines.empty()) written = sink(lines);
  }
  if (enough || !written.ok()) context->TryCancel();
  const grpc::Status status = stream->Finish();
  if (!written.ok()) return written;
  if (const absl::Status end = EndOf(session, vm, status); !end.ok() && !enough) return end;
  return count == 0 ? absl::NotFoundError("no hypercall of it is on record") : absl::OkStatus();
}

}  // namespace trapline::cli
