// SPDX-License-Identifier: Apache-2.0
// gRPC server set-up.
#include "daemon/control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server_builder.h"

namespace trapline::daemon {
namespace {

constexpr int kMaxReceive = 4 << 20, kMaxSend = 32 << 20;
// For calls under way; watchers are told at once. A client that is connected and idle uses it up.
constexpr auto kStopDeadline = std::chrono::seconds(1);
constexpr int kMaxThreads = 512;
constexpr size_t kMaxSocketPath = 107;  // sockaddr_un

bool Loopback(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  return host == "127.0.0.1" || host == "localhost" || host == "[::1]";
}

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ListenOptions& options,
                                                      Registry& registry) {
  if (!options.tcp.empty() &&
      (options.tcp.rfind(':') == std::string::npos || !Loopback(options.tcp))) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen-tcp ", options.tcp,
                     ": TCP is not authenticated yet, so only 127.0.0.1, [::1] and localhost with "
                     "a port are allowed"));
  }
  if (!options.tcp.empty() && !options.insecure_tcp) {
    return absl::InvalidArgumentError(
        "--listen-tcp: TCP is not authenticated yet; say --insecure-tcp as well if every user of "
        "this machine may control the VMs");
  }
  if (options.unix_socket.size() > kMaxSocketPath) {
    return absl::InvalidArgumentError(absl::StrCat("the socket path ", options.unix_socket,
                                                   " is longer than ", kMaxSocketPath, " bytes"));
  }
  auto server = std::unique_ptr<Server>(new Server(registry));
  server->socket_ = options.unix_socket;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(options.unix_socket).parent_path(),
                                      error);
  std::string lock = options.unix_socket + ".lock";
  server->lock_ = base::UniqueFd(open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!server->lock_.valid()) return Failed(lock);
  if (flock(server->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(absl::StrCat("another traplined serves ", options.unix_socket));
  }
  unlink(options.unix_socket.c_str());  // ours alone by the lock, so what is there is stale
  // Only who holds the lock may take up workers; and who is served finds all VMs there.
  if (auto status = registry.Load(); !status.ok()) return status;

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + options.unix_socket, grpc::InsecureServerCredentials());
  if (!options.tcp.empty())
    builder.AddListeningPort(options.tcp, grpc::InsecureServerCredentials(), &server->tcp_port_);
  // Each stream that is open holds a thread; who asks for one more gets RESOURCE_EXHAUSTED.
  grpc::ResourceQuota quota("traplined");
  quota.SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxReceive);
  builder.SetMaxSendMessageSize(kMaxSend);
  if (options.rpc_metrics) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(options.rpc_metrics->Interceptors());
    builder.experimental().SetInterceptorCreators(std::move(creators));
  }
  for (grpc::Service* service :
       {static_cast<grpc::Service*>(&server->vms_), static_cast<grpc::Service*>(&server->sites_),
        static_cast<grpc::Service*>(&server->traces_),
        static_cast<grpc::Service*>(&server->host_)}) {
    builder.RegisterService(service);
  }
  server->server_ = builder.BuildAndStart();
  if (!server->server_ || (!options.tcp.empty() && server->tcp_port_ == 0)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.unix_socket,
                                               options.tcp.empty() ? "" : " and ", options.tcp));
  }
  if (chmod(options.unix_socket.c_str(), 0660) != 0) return Failed(options.unix_socket);
  return server;
}

void Server::Stop() {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(false);
  registry_.BeginShutdown();
  server_->Shutdown(std::chrono::system_clock::now() + kStopDeadline);
  server_->Wait();
  unlink(socket_.c_str());
}

}  // namespace trapline::daemon
