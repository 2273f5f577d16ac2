// SPDX-License-Identifier: Apache-2.0
// Who may do what over TCP, with the certificates that deploy/test-ca.sh makes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "tests/api/daemon_process.h"
#include "tests/api/no_descriptors.h"
#include "tests/api/tls_handshake.h"
#include "tests/common/scratch.h"

namespace trapline::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    Issue("ca");
    Start("");
  }
  // limits: more of the section [tls].
  void Start(const std::string& limits) {
    std::ofstream(directory_ + "/t.toml")
        << "[tls]\n"
        << limits << "certificate = \"" << directory_ << "/ca/server.pem\"\nkey = \"" << directory_
        << "/ca/server.key\"\nclient_ca = \"" << directory_ << "/ca/ca.pem\"\n"
        << "[access.viewer]\nsans = [\"dns:viewer.clients.trapline.test\"]\n"
        << "[access.operator]\nsans = [\"dns:oper*.clients.trapline.test\"]\n"
        << "[audit]\nfile = \"" << directory_ << "/audit.log\"\n";
    daemon_.reset();
    daemon_ = std::make_unique<DaemonProcess>(
        directory_, std::vector<std::string>{"--config", directory_ + "/t.toml", "--listen-tcp",
                                             "127.0.0.1:0"});
    daemon_->KeepDirectory();
  }
  void Issue(const std::string& inner, const std::string& options = "",
             const std::string& names = "localhost") {
    const std::string command = std::string(TRAPLINE_DEPLOY_DIR "/test-ca.sh ") + options + " " +
                                directory_ + "/" + inner + " " + names + " >/dev/null";
    ASSERT_EQ(system(command.c_str()), 0) << command;
  }

  // The answer to StopVm, which takes an operator; who: of the certificates in the directory
  // `inner`; empty: none is shown.
  grpc::Status StopAs(const std::string& who, const std::string& inner = "ca") {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Read(directory_ + "/ca/ca.pem");
    if (!who.empty()) {
      options.pem_cert_chain = Read(directory_ + "/" + inner + "/" + who + ".pem");
      options.pem_private_key = Read(directory_ + "/" + inner + "/" + who + ".key");
    }
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    auto channel = grpc::CreateCustomChannel("localhost:" + std::to_string(daemon_->tcp_port()),
                                             grpc::SslCredentials(options), own);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    v1::StopVmRequest request;
    request.set_name("vms/a");
    v1::StopVmResponse response;
    return v1::Vms::NewStub(channel)->StopVm(&context, request, &response);
  }
  bool ComesToBeServed() {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    grpc::StatusCode code = grpc::OK;
    while (code != grpc::NOT_FOUND && std::chrono::steady_clock::now() < patience)
      code = StopAs("operator").error_code();
    return code == grpc::NOT_FOUND;
  }
  // A connection that says nothing.
  base::UniqueFd Connect() const {
    base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(daemon_->tcp_port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  std::unique_ptr<DaemonProcess> daemon_;
};

TEST_F(Tls, CertificatesHaveTheRolesOfTheirNames) {
  EXPECT_EQ(StopAs("operator").error_code(), grpc::NOT_FOUND);
  const grpc::Status denied = StopAs("viewer");
  EXPECT_EQ(denied.error_code(), grpc::PERMISSION_DENIED);
  EXPECT_EQ(denied.error_message(),
            "trapline.v1.Vms/StopVm needs the role operator; certificate "
            "dns:viewer.clients.trapline.test has viewer");
  EXPECT_THAT(Read(directory_ + "/audit.log"),
              HasSubstr("\"who\":\"certificate dns:viewer.clients.trapline.test\""));
}

TEST_F(Tls, ACertificateThatNoRoleIsGivenToMayDoNothing) {
  const grpc::Status denied = StopAs("admin");  // this configuration has no admins
  EXPECT_EQ(denied.error_code(), grpc::PERMISSION_DENIED);
  EXPECT_THAT(denied.error_message(),
              HasSubstr("certificate dns:admin.clients.trapline.test has no role here"));
  EXPECT_THAT(Read(directory_ + "/audit.log"), HasSubstr("dns:admin.clients.trapline.test"));
}

TEST_F(Tls, CertificatesThatAreNoneOfOursDoNotComeIn) {
  Issue("other");
  EXPECT_EQ(StopAs("operator", "other").error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(StopAs("").error_code(), grpc::UNAVAILABLE);
  // What the daemon's own CA says it may be used for is servers.
  EXPECT_EQ(StopAs("server").error_code(), grpc::UNAVAILABLE);
}

TEST_F(Tls, CertificatesThatAreOverDoNotComeIn) {
  Issue("over");
  std::filesystem::copy_file(directory_ + "/ca/ca.pem", directory_ + "/over/ca.pem",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(directory_ + "/ca/ca.key", directory_ + "/over/ca.key",
                             std::filesystem::copy_options::overwrite_existing);
  Issue("over");
  EXPECT_EQ(StopAs("operator", "over").error_code(), grpc::NOT_FOUND);
  Issue("over", "--days -1");
  EXPECT_EQ(StopAs("operator", "over").error_code(), grpc::UNAVAILABLE);
}

TEST_F(Tls, OldVersionsAreRefused) {
  EXPECT_FALSE(ShakeHands(daemon_->tcp_port(), TLS1_1_VERSION, directory_ + "/ca").done);
  EXPECT_TRUE(ShakeHands(daemon_->tcp_port(), TLS1_2_VERSION, directory_ + "/ca").done);
  EXPECT_TRUE(ShakeHands(daemon_->tcp_port(), TLS1_3_VERSION, directory_ + "/ca").done);
}

TEST_F(Tls, CertificatesAreReadAgainWithoutARestart) {
  auto serial = [&] {
    return ShakeHands(daemon_->tcp_port(), TLS1_3_VERSION, directory_ + "/ca").server_serial;
  };
  const std::string before = serial();
  ASSERT_NE(before, "");
  Issue("ca");
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::string after = before;
  while ((after == before || after.empty()) && std::chrono::steady_clock::now() < patience)
    after = serial();
  EXPECT_NE(after, before);
  EXPECT_EQ(StopAs("operator").error_code(), grpc::NOT_FOUND);
}

TEST_F(Tls, FilesThatDoNotFitTogetherAreRefusedAtTheStart) {
  const std::string config = directory_ + "/wrong.toml";
  auto start = [&](const std::string& certificate, const std::string& key) {
    std::ofstream(config) << "[tls]\ncertificate = \"" << directory_ << "/ca/" << certificate
                          << "\"\nkey = \"" << directory_ << "/ca/" << key << "\"\nclient_ca = \""
                          << directory_ << "/ca/ca.pem\"\n";
    return RunDaemon({"--config", config, "--listen", directory_ + "/w.sock", "--run-dir",
                      directory_ + "/w", "--state-dir", directory_ + "/w", "--log-level", "error",
                      "--listen-tcp", "127.0.0.1:0"});
  };
  EXPECT_EQ(start("server.pem", "viewer.key"), 1);
  EXPECT_EQ(start("none.pem", "server.key"), 1);
  EXPECT_EQ(start("server.key", "server.key"), 1);
}

TEST_F(Tls, ConnectionsThatAreOneTooManyAreHungUpOn) {
  Start("max_connections = 3\n");
  std::vector<base::UniqueFd> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(Connect());
  char byte = 0;
  EXPECT_EQ(read(Connect().get(), &byte, 1), 0);
  EXPECT_THAT(Read(directory_ + "/audit.log"),
              AllOf(HasSubstr("[tls] max_connections = 3 connections are open"),
                    HasSubstr("address 127.0.0.1")));
  silent.clear();
  EXPECT_TRUE(ComesToBeServed());
}

TEST_F(Tls, OneAddressCannotHaveAllConnections) {
  Start("max_connections_per_address = 1\n");
  const base::UniqueFd silent = Connect();
  char byte = 0;
  EXPECT_EQ(read(Connect().get(), &byte, 1), 0);
  EXPECT_THAT(Read(directory_ + "/audit.log"), HasSubstr("[tls] max_connections_per_address = 1"));
}

TEST_F(Tls, NewClientsAreServedOnceThereAreDescriptorsAgain) {
#ifdef TRAPLINE_SANITIZED
  GTEST_SKIP() << "the sanitizer takes a pipe to look at an object's type";
#endif
  base::UniqueFd early;
  {
    NoDescriptors limit(daemon_->pid());
    early = Connect();
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (daemon_->Log().find("clients have to wait") == std::string::npos &&
           std::chrono::steady_clock::now() < patience)
      usleep(10'000);
    EXPECT_THAT(daemon_->Log(), HasSubstr("Too many open files"));
  }
  EXPECT_TRUE(ComesToBeServed());
}

TEST_F(Tls, AllAddressesOfANameAreListenedOn) {
  daemon_.reset();
  auto serve = [&](const std::string& address) {
    return std::make_unique<DaemonProcess>(
        directory_,
        std::vector<std::string>{"--config", directory_ + "/t.toml", "--listen-tcp", address});
  };
  for (const char* address : {"localhost:0", "[::]:0", "0.0.0.0:0"}) {
    daemon_ = serve(address);
    daemon_->KeepDirectory();
    EXPECT_EQ(StopAs("operator").error_code(), grpc::NOT_FOUND) << address;
    daemon_.reset();
  }
}

TEST_F(Tls, AnAddressThatIsNoneIsSaidSo) {
  for (const char* address : {"7443", "127.0.0.1:", "127.0.0.1:65536", "::1:7443", ":7443",
                              "no.such.name.invalid:7443", "[::1]7443"}) {
    EXPECT_EQ(RunDaemon({"--config", directory_ + "/t.toml", "--listen", directory_ + "/w.sock",
                         "--run-dir", directory_ + "/w", "--state-dir", directory_ + "/w",
                         "--log-level", "error", "--listen-tcp", address}),
              1)
        << address;
  }
}

TEST_F(Tls, ADaemonThatCannotListenLeavesVmsRunning) {
  ASSERT_TRUE(daemon_->CreateIdleVm("a").ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  daemon_->Kill();
  const std::vector<std::string> arguments = {"--config", directory_ + "/t.toml", "--listen-tcp"};
  std::vector<std::string> elsewhere = arguments;
  elsewhere.insert(elsewhere.end(), {"192.0.2.1:0", "--listen", directory_ + "/d.sock", "--run-dir",
                                     directory_ + "/run", "--state-dir", directory_ + "/state"});
  EXPECT_EQ(RunDaemon(elsewhere), 1) << "that address is nobody's";
  std::vector<std::string> here = arguments;
  here.emplace_back("127.0.0.1:0");
  daemon_ = std::make_unique<DaemonProcess>(directory_, here);
  daemon_->KeepDirectory();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
}

}  // namespace
}  // namespace trapline::daemon
