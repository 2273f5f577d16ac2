// SPDX-License-Identifier: Apache-2.0
// Many VMs and many clients at once, for a long time: those that call, watch and trace, and those
// that do not read, do not speak, or stop in the middle of a word. No call is left without an
// answer, and the daemon takes no more memory or descriptors at the end than at the beginning.
//
// TRAPLINE_SOAK_SECONDS is how long (600), TRAPLINE_SOAK_VMS (500) and TRAPLINE_SOAK_CLIENTS (200)
// how many.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"
#include "grpcpp/create_channel.h"
#include "tests/api/daemon_process.h"
#include "tests/load/latencies.h"
#include "tests/load/process_use.h"

namespace trapline::daemon {
namespace {

using Clock = std::chrono::steady_clock;

// What takes longer is stuck.
constexpr auto kStuck = std::chrono::seconds(60);
constexpr auto kBetweenCalls = std::chrono::milliseconds(50);

int FromEnvironment(const char* name, int otherwise) {
  const char* text = getenv(name);
  int value;
  return text && absl::SimpleAtoi(text, &value) && value > 0 ? value : otherwise;
}

class Soak : public ::testing::Test {
 protected:
  // One client, with a connection of its own.
  class Client {
   public:
    Client(Soak& soak, int number) : soak_(soak), random_(static_cast<unsigned>(number)) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      auto channel = grpc::CreateCustomChannel("unix:" + soak.daemon_.directory() + "/d.sock",
                                               grpc::InsecureChannelCredentials(), arguments);
      vms_ = v1::Vms::NewStub(channel);
      sites_ = v1::Sites::NewStub(channel);
      traces_ = v1::Traces::NewStub(channel);
      own_ = absl::StrCat("own-", number);
    }

    // Looks at whatever is there.
    void Look() {
      while (soak_.Rest()) {
        v1::ListVmsRequest list;
        list.set_page_size(100);
        Call("ListVms", *vms_, &v1::Vms::Stub::ListVms, list);
        v1::GetVmRequest get;
        get.set_name(AnyVm());
        Call("GetVm", *vms_, &v1::Vms::Stub::GetVm, get);
        v1::ListSitesRequest sites;
        sites.set_parent(AnyVm());
        Call("ListSites", *sites_, &v1::Sites::Stub::ListSites, sites);
      }
    }
    // Makes a VM and deletes it, again and again.
    void Make() {
      while (soak_.Rest()) {
        v1::CreateVmRequest create;
        create.set_vm_id(own_);
        auto* spec = create.mutable_vm()->mutable_spec();
        spec->set_kernel_path(std::string(TRAPLINE_GUESTS_DIR) + "/hello.elf");
        spec->set_command_line("calls=10");
        spec->set_memory_bytes(16 << 20);
        Call("CreateVm", *vms_, &v1::Vms::Stub::CreateVm, create);
        v1::StartVmRequest start;
        start.set_name("vms/" + own_);
        Call("StartVm", *vms_, &v1::Vms::Stub::StartVm, start);
        v1::DeleteVmRequest remove;
        remove.set_name("vms/" + own_);
        remove.set_force(true);
        Call("DeleteVm", *vms_, &v1::Vms::Stub::DeleteVm, remove);
      }
    }
    void WatchEvents() {
      Listen<v1::WatchVmEventsResponse>([this](grpc::ClientContext* context) {
        return vms_->WatchVmEvents(context, v1::WatchVmEventsRequest());
      });
    }
    void WatchSites() {
      v1::WatchSitesRequest request;
      request.set_parent(AnyVm());
      Listen<v1::WatchSitesResponse>(
          [&](grpc::ClientContext* context) { return sites_->WatchSites(context, request); });
    }
    void Trace() {
      v1::StreamHypercallsRequest request;
      request.set_parent(AnyVm());
      Listen<v1::StreamHypercallsResponse>([&](grpc::ClientContext* context) {
        return traces_->StreamHypercalls(context, request);
      });
    }
    // Asks for a stream and does not read it.
    void Sleep() {
      grpc::ClientContext context;
      v1::WatchSitesRequest request;
      request.set_parent(AnyVm());
      request.mutable_interval()->set_nanos(100'000'000);
      auto stream = sites_->WatchSites(&context, request);
      while (soak_.Rest()) {
      }
      context.TryCancel();
    }
    // Connects, says that much of the beginning of HTTP/2, and no more.
    void Stall(size_t words) {
      constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
      while (soak_.Rest()) {
        base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{AF_UNIX, {}};
        const std::string path = soak_.daemon_.directory() + "/d.sock";
        memcpy(address.sun_path, path.c_str(), path.size());
        if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
        send(fd.get(), kPreface.data(), words, MSG_NOSIGNAL);
        for (int i = 0; i < 100 && soak_.Rest(); ++i) {
        }
      }
    }

   private:
    std::string AnyVm() {
      return absl::StrCat("vms/idle-",
                          std::uniform_int_distribution<int>(0, soak_.vms_ - 1)(random_));
    }
    template <typename Stub, typename Base, typename Request, typename Response>
    void Call(const char* what, Stub& stub,
              grpc::Status (Base::*method)(grpc::ClientContext*, const Request&, Response*),
              const Request& request) {
      Response response;
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + kStuck);
      auto start = Clock::now();
      grpc::Status status = (stub.*method)(&context, request, &response);
      soak_.latencies_.Add(what, Clock::now() - start);
      soak_.Expect(what, status, {grpc::OK});
    }
    // Reads a stream, for ten seconds at a time.
    template <typename Response, typename Open>
    void Listen(Open open) {
      while (soak_.Rest()) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
        auto stream = open(&context);
        Response response;
        while (!soak_.over_ && stream->Read(&response)) {
        }
        context.TryCancel();
        soak_.Expect("stream", stream->Finish(),
                     {grpc::DEADLINE_EXCEEDED, grpc::CANCELLED, grpc::OK});
      }
    }

    Soak& soak_;
    std::mt19937 random_;
    std::string own_;
    std::unique_ptr<v1::Vms::Stub> vms_;
    std::unique_ptr<v1::Sites::Stub> sites_;
    std::unique_ptr<v1::Traces::Stub> traces_;
  };

  // False when the time is over.
  bool Rest() {
    std::this_thread::sleep_for(kBetweenCalls);
    return !over_;
  }
  void Expect(const std::string& what, const grpc::Status& status,
              std::initializer_list<grpc::StatusCode> codes) {
    if (std::find(codes.begin(), codes.end(), status.error_code()) != codes.end()) return;
    if (failures_++ < kMostShown)
      ADD_FAILURE() << what << ": " << status.error_code() << " " << status.error_message();
  }
  // Of ten clients four look, two make VMs, one each watches events and sites, and one traces; the
  // others do not do what clients do.
  void Be(int number) {
    Client client(*this, number);
    switch (number % 10) {
      case 0:
      case 1:
      case 2:
      case 3:
        return client.Look();
      case 4:
      case 5:
        return client.Make();
      case 6:
        return client.WatchEvents();
      case 7:
        return client.WatchSites();
      case 8:
        return client.Trace();
      default:
        return number % 20 == 9 ? client.Sleep() : client.Stall(number % 24);
    }
  }
  void StartVms() {
    for (int i = 0; i < vms_; ++i) {
      const std::string id = absl::StrCat("idle-", i);
      ASSERT_TRUE(daemon_.CreateIdleVm(id).ok()) << id;
      ASSERT_TRUE(daemon_.StartVm(id).ok()) << id;
    }
  }

  static constexpr int kMostShown = 20;
  // gRPC's pollers and the like, made when they are first needed.
  static constexpr size_t kSpareDescriptors = 16;
  const int vms_ = FromEnvironment("TRAPLINE_SOAK_VMS", 500);
  const int clients_ = FromEnvironment("TRAPLINE_SOAK_CLIENTS", 200);
  const std::chrono::seconds time_{FromEnvironment("TRAPLINE_SOAK_SECONDS", 600)};
  DaemonProcess daemon_;
  Latencies latencies_;
  std::atomic<int> failures_{0};
  std::atomic<bool> over_{false};
};

TEST_F(Soak, NothingIsLeakedOrStuck) {
  StartVms();
  const Use before = UseOf(daemon_.pid());
  std::vector<std::thread> clients;
  for (int i = 0; i < clients_; ++i) clients.emplace_back([this, i] { Be(i); });
  // By then everything has been done many times, and what is kept is kept.
  std::this_thread::sleep_for(time_ / 4);
  const Use warm = UseOf(daemon_.pid());
  std::this_thread::sleep_for(time_ - time_ / 4);
  const Use late = UseOf(daemon_.pid());
  over_ = true;
  for (std::thread& client : clients) client.join();
  // Connections end in the daemon's own time.
  Use after;
  // A VM whose sites have been watched keeps a file open: of ten clients one and a half watch one.
  const size_t most =
      before.descriptors + kSpareDescriptors + static_cast<size_t>(clients_) * 3 / 20;
  for (auto end = Clock::now() + kStuck; Clock::now() < end;) {
    after = UseOf(daemon_.pid());
    if (after.descriptors <= most) break;
    std::this_thread::sleep_for(kBetweenCalls);
  }
  std::cout << latencies_.Report();
  for (auto [when, use] : {std::pair("before", before), std::pair("warm", warm),
                           std::pair("late", late), std::pair("after", after)}) {
    std::cout << when << ": " << use.memory_kib << " KiB, " << use.descriptors << " descriptors\n";
  }
  EXPECT_EQ(failures_, 0);
  EXPECT_LE(after.descriptors, most);
  EXPECT_LE(late.memory_kib, warm.memory_kib + warm.memory_kib / 8);
}

}  // namespace
}  // namespace trapline::daemon
