// SPDX-License-Identifier: Apache-2.0
// gRPC server set-up.
#include "daemon/control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/access/public_services.h"
#include "daemon/access/reflection_limit.h"
#include "daemon/access/tls.h"
#include "daemon/access/unix_socket.h"
#include "daemon/common/grpc_threads.h"
#include "daemon/common/logging.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"

namespace trapline::daemon {
namespace {

constexpr int kMaxReceive = 4 << 20, kMaxSend = 32 << 20;
// For calls under way; watchers are told at once. A client that is connected and idle uses it up.
constexpr auto kStopDeadline = std::chrono::seconds(1);
// Who connects has to say hello by then.
constexpr int kHandshakeMs = 10'000;
constexpr int kMaxThreads = 512;
// Of one connection: those of health, which nobody counts.
constexpr uint32_t kSpareStreams = 64;
// A client that keeps its connection alive by pings need not wait longer between them.
constexpr int kPingsApartMs = 5'000;

const google::protobuf::ServiceDescriptor& Descriptor(const char* full_name) {
  return *google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(full_name);
}

Refusals::OnRefused ReportRefusals(AuditLog& audit) {
  return [&audit](const Caller& caller, const std::string& reason) {
    audit.Write({caller, "connect", "", "PERMISSION_DENIED", "CONNECTION_REFUSED", reason});
  };
}

}  // namespace

Server::Server(ListenOptions options, Registry& registry)
    : options_(std::move(options)),
      registry_(registry),
      audit_calls_(*options_.audit, PublicServices()),
      call_limits_(options_.authorizer->config().limits),
      vms_(registry, *options_.authorizer),
      sites_(registry),
      traces_(registry),
      host_(registry) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ListenOptions options, Registry& registry) {
  auto server = std::unique_ptr<Server>(new Server(std::move(options), registry));
  if (auto status = server->Lock(); !status.ok()) return status;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  server->peer_acceptor_ = std::make_unique<PeerAcceptor>(server->options_.authorizer, builder,
                                                          ReportRefusals(*server->options_.audit));
  if (auto status = server->AddTcp(builder); !status.ok()) return status;
  auto listener = server->Listen();
  if (!listener.ok()) return listener.status();
  // Who is served finds all VMs there.
  if (auto status = registry.Load(); !status.ok()) return status;
  server->SetLimits(builder);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  if (server->options_.rpc_metrics)
    creators.push_back(server->options_.rpc_metrics->Interceptors());
  creators.push_back(server->audit_calls_.Interceptors());
  creators.push_back(LimitReflection(server->call_limits_));
  builder.experimental().SetInterceptorCreators(std::move(creators));
  server->AddServices(builder);
  const int executor_threads = AllExecutorThreads();
  if (auto status = TryServerThreads(executor_threads); !status.ok()) return status;
  server->server_ = builder.BuildAndStart();
  if (!server->server_) return absl::UnavailableError("gRPC cannot serve");
  MakeExecutorThreads(executor_threads);
  if (auto status = server->peer_acceptor_->Start(*std::move(listener)); !status.ok())
    return status;
  if (server->tcp_acceptor_) {
    if (auto status = server->tcp_acceptor_->Start(); !status.ok()) return status;
  }
  return server;
}

absl::Status Server::Lock() {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(options_.unix_socket).parent_path(),
                                      error);
  const std::string path = options_.unix_socket + ".lock";
  lock_ = base::UniqueFd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_.valid()) return absl::ErrnoToStatus(errno, path);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("another traplined serves ", options_.unix_socket));
}

absl::StatusOr<base::UniqueFd> Server::Listen() {
  if (options_.inherited.valid()) {
    if (auto status = CheckListening(options_.inherited.get()); !status.ok()) return status;
    return std::move(options_.inherited);
  }
  // Ours alone by the lock, so what is there is stale.
  auto listener = ListenUnix(options_.unix_socket, options_.authorizer->config().socket);
  own_socket_ = listener.ok();
  return listener;
}

absl::Status Server::AddTcp(grpc::ServerBuilder& builder) {
  if (options_.tcp.empty()) return absl::OkStatus();
  const TlsConfig& tls = options_.authorizer->config().tls;
  if (tls.certificate.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen-tcp ", options_.tcp,
                     " takes a certificate: a [tls] section in the file that --config names"));
  }
  auto credentials = TlsCredentials(tls, std::make_shared<CertificateAdmission>(
                                             options_.authorizer, ReportRefusals(*options_.audit)));
  if (!credentials.ok()) return credentials.status();
  auto listeners = ListenTcp(options_.tcp);
  if (!listeners.ok()) return listeners.status();
  tcp_acceptor_ = std::make_unique<TcpAcceptor>(tls, *std::move(listeners), *credentials, builder,
                                                ReportRefusals(*options_.audit));
  return absl::OkStatus();
}

void Server::SetLimits(grpc::ServerBuilder& builder) const {
  const LimitsConfig& limits = options_.authorizer->config().limits;
  // Who asks for one more gets RESOURCE_EXHAUSTED. No caller can have them all.
  grpc::ResourceQuota quota("traplined");
  quota.SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxReceive);
  builder.SetMaxSendMessageSize(kMaxSend);
  const auto argument = [&](const char* name, uint32_t value) {
    builder.AddChannelArgument(name, static_cast<int>(value));
  };
  argument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  // A client that has as many streams as a connection may is left waiting by its own gRPC; it
  // should come as far as to be told.
  argument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
           limits.max_calls_per_caller + limits.max_streams_per_caller + kSpareStreams);
  // A peer that is gone without a word is asked until it does not answer, whatever it has open.
  argument(GRPC_ARG_KEEPALIVE_TIME_MS, limits.keepalive_seconds * 1000);
  argument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, limits.keepalive_timeout_seconds * 1000);
  argument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  argument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  argument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingsApartMs);
}

void Server::AddServices(grpc::ServerBuilder& builder) {
  auto add = [&](grpc::Service& service, const char* name,
                 const std::vector<CallbackMethod>& callback_methods) {
    guarded_.push_back(std::make_unique<GuardedService>(
        service, Descriptor(name), *options_.authorizer, call_limits_, callback_methods));
    builder.RegisterService(guarded_.back().get());
  };
  add(vms_, v1::Vms::service_full_name(),
      {DialogueCallback<v1::ConsoleRequest, v1::ConsoleResponse>("Console"),
       UnaryCallback<v1::WaitVmRequest, v1::Vm>("WaitVm"),
       ServerStreamCallback<v1::WatchVmEventsRequest, v1::WatchVmEventsResponse>("WatchVmEvents")});
  add(sites_, v1::Sites::service_full_name(),
      {ServerStreamCallback<v1::WatchSitesRequest, v1::WatchSitesResponse>("WatchSites")});
  add(traces_, v1::Traces::service_full_name(),
      {ServerStreamCallback<v1::StreamHypercallsRequest, v1::StreamHypercallsResponse>(
          "StreamHypercalls")});
  add(host_, v1::Host::service_full_name(), {});
}

void Server::Stop() {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(false);
  registry_.BeginShutdown();
  peer_acceptor_->Stop();
  if (tcp_acceptor_) tcp_acceptor_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() + kStopDeadline);
  server_->Wait();
  if (own_socket_) unlink(options_.unix_socket.c_str());
}

}  // namespace trapline::daemon
