// SPDX-License-Identifier: Apache-2.0
// The public API's services over the registry.
#pragma once

#include <atomic>
#include <memory>

#include "daemon/access/authorizer.h"
#include "daemon/control/registry.h"
#include "daemon/control/stream_pump.h"
#include "trapline/v1/host.grpc.pb.h"
#include "trapline/v1/sites.grpc.pb.h"
#include "trapline/v1/traces.grpc.pb.h"
#include "trapline/v1/vms.grpc.pb.h"

namespace trapline::daemon {

// What lasts as long as the client likes is a callback method and holds no thread: one each serves
// all consoles, waits and watches of events, all watches of sites, and all traces.
class VmsService final
    : public v1::Vms::WithCallbackMethod_Console<v1::Vms::WithCallbackMethod_WaitVm<
          v1::Vms::WithCallbackMethod_WatchVmEvents<v1::Vms::Service>>> {
 public:
  VmsService(Registry& registry, const Authorizer& authorizer)
      : registry_(registry), authorizer_(authorizer) {
    registry_.hub().OnNews([pump = pump_] { pump->WakeAll(); });
  }
  grpc::Status CreateVm(grpc::ServerContext*, const v1::CreateVmRequest*, v1::Vm*) override;
  grpc::Status GetVm(grpc::ServerContext*, const v1::GetVmRequest*, v1::Vm*) override;
  grpc::Status ListVms(grpc::ServerContext*, const v1::ListVmsRequest*,
                       v1::ListVmsResponse*) override;
  grpc::Status DeleteVm(grpc::ServerContext*, const v1::DeleteVmRequest*,
                        google::protobuf::Empty*) override;
  grpc::Status StartVm(grpc::ServerContext*, const v1::StartVmRequest*, v1::Vm*) override;
  grpc::Status StopVm(grpc::ServerContext*, const v1::StopVmRequest*, v1::StopVmResponse*) override;
  grpc::Status PauseVm(grpc::ServerContext*, const v1::PauseVmRequest*, v1::Vm*) override;
  grpc::Status ResumeVm(grpc::ServerContext*, const v1::ResumeVmRequest*, v1::Vm*) override;
  grpc::Status ResetVm(grpc::ServerContext*, const v1::ResetVmRequest*, v1::Vm*) override;
  grpc::ServerUnaryReactor* WaitVm(grpc::CallbackServerContext*, const v1::WaitVmRequest*,
                                   v1::Vm*) override;
  grpc::ServerWriteReactor<v1::WatchVmEventsResponse>* WatchVmEvents(
      grpc::CallbackServerContext*, const v1::WatchVmEventsRequest*) override;
  grpc::ServerBidiReactor<v1::ConsoleRequest, v1::ConsoleResponse>* Console(
      grpc::CallbackServerContext*) override;
  grpc::Status ReadRegisters(grpc::ServerContext*, const v1::ReadRegistersRequest*,
                             v1::Registers*) override;
  grpc::Status ReadMemory(grpc::ServerContext*, const v1::ReadMemoryRequest*,
                          v1::ReadMemoryResponse*) override;
  grpc::Status Disassemble(grpc::ServerContext*, const v1::DisassembleRequest*,
                           v1::DisassembleResponse*) override;

 private:
  template <typename Request>
  grpc::Status Move(const char* method, worker::v1::MoveRequest::Kind kind,
                    const grpc::ServerContext& context, const Request& request, v1::Vm* response);
  Registry& registry_;
  const Authorizer& authorizer_;
  const std::shared_ptr<StreamPump> pump_ = std::make_shared<StreamPump>(StreamPump::Kind::kPrompt);
};

class SitesService final : public v1::Sites::WithCallbackMethod_WatchSites<v1::Sites::Service> {
 public:
  explicit SitesService(Registry& registry) : registry_(registry) {}
  grpc::Status ListSites(grpc::ServerContext*, const v1::ListSitesRequest*,
                         v1::ListSitesResponse*) override;
  grpc::Status GetSite(grpc::ServerContext*, const v1::GetSiteRequest*, v1::Site*) override;
  grpc::ServerWriteReactor<v1::WatchSitesResponse>* WatchSites(
      grpc::CallbackServerContext*, const v1::WatchSitesRequest*) override;
  grpc::Status GetSiteTotals(grpc::ServerContext*, const v1::GetSiteTotalsRequest*,
                             v1::SiteTotals*) override;
  grpc::Status ListSiteTransitions(grpc::ServerContext*, const v1::ListSiteTransitionsRequest*,
                                   v1::ListSiteTransitionsResponse*) override;
  grpc::Status DisassembleSite(grpc::ServerContext*, const v1::DisassembleSiteRequest*,
                               v1::SiteCode*) override;
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*, v1::Policy*) override;
  grpc::Status SetPolicy(grpc::ServerContext*, const v1::SetPolicyRequest*, v1::Policy*) override;
  grpc::Status RevertSite(grpc::ServerContext*, const v1::RevertSiteRequest*, v1::Site*) override;
  grpc::Status ResetSiteCounters(grpc::ServerContext*, const v1::ResetSiteCountersRequest*,
                                 v1::SiteTotals*) override;

 private:
  Registry& registry_;
  const std::shared_ptr<StreamPump> pump_ =
      std::make_shared<StreamPump>(StreamPump::Kind::kLookingOn);
};

class TracesService final
    : public v1::Traces::WithCallbackMethod_StreamHypercalls<v1::Traces::Service> {
 public:
  explicit TracesService(Registry& registry) : registry_(registry) {}
  grpc::ServerWriteReactor<v1::StreamHypercallsResponse>* StreamHypercalls(
      grpc::CallbackServerContext*, const v1::StreamHypercallsRequest*) override;

 private:
  Registry& registry_;
  const std::shared_ptr<StreamPump> pump_ =
      std::make_shared<StreamPump>(StreamPump::Kind::kLookingOn);
  const std::shared_ptr<std::atomic<size_t>> streams_ = std::make_shared<std::atomic<size_t>>(0);
};

class HostService final : public v1::Host::Service {
 public:
  explicit HostService(Registry& registry) : registry_(registry) {}
  grpc::Status GetHostInfo(grpc::ServerContext*, const v1::GetHostInfoRequest*,
                           v1::HostInfo*) override;

 private:
  Registry& registry_;
};

// How long a stream that looks on sleeps before it looks whether it is to end.
constexpr absl::Duration kStreamPoll = absl::Milliseconds(100);

// The answer of a stream that the daemon's end cuts.
grpc::Status ShuttingDown();

// What page_size means: 0: 50; at most 1000.
grpc::Status PageSize(int32_t wanted, size_t* size);
// A page of [0, total): where it starts and ends, by page_size (0: 50; at most 1000) and token.
struct Page {
  size_t start, end;
  std::string next_token;  // empty: the last one
};
grpc::Status Paginate(int32_t page_size, const std::string& token, size_t total, Page* page);

}  // namespace trapline::daemon
