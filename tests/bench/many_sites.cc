// SPDX-License-Identifier: Apache-2.0
// How long a client waits for sites of a VM that has very many: the first page of a list, a watch's
// snapshot, and, from a change of a site's policy, the delta that tells of it. Usage: many_sites
// ADDRESS VM [CHANGES]; many_sites.sh makes the daemon and the VM.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "trapline/v1/sites.grpc.pb.h"

namespace {

namespace v1 = trapline::v1;
using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void Check(const grpc::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "many_sites: %s\n", status.error_message().c_str());
  std::exit(1);
}

void Report(const char* what, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("%-34s median %8.1f ms, longest %8.1f ms, of %zu\n", what, times[times.size() / 2],
              times.back(), times.size());
}

class Bench {
 public:
  Bench(const std::string& address, std::string parent)
      : stub_(v1::Sites::NewStub(
            grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), Arguments()))),
        parent_(std::move(parent)) {}

  v1::ListSitesResponse FirstPage(const std::string& filter) {
    v1::ListSitesRequest request;
    request.set_parent(parent_);
    request.set_filter(filter);
    v1::ListSitesResponse response;
    grpc::ClientContext context;
    Check(stub_->ListSites(&context, request, &response));
    return response;
  }

  void List(const char* what, const std::string& filter) {
    constexpr int kLists = 21;
    std::vector<double> times;
    for (int i = 0; i < kLists; ++i) {
      auto start = Clock::now();
      FirstPage(filter);
      times.push_back(MillisecondsSince(start));
    }
    Report(what, times);
  }

  void Watch(int changes) {
    v1::WatchSitesRequest request;
    request.set_parent(parent_);
    request.mutable_interval()->set_nanos(50'000'000);
    grpc::ClientContext context;
    auto stream = stub_->WatchSites(&context, request);
    auto start = Clock::now();
    v1::WatchSitesResponse response;
    size_t sites = 0;
    do {
      if (!stream->Read(&response)) return Check(stream->Finish());
      sites += static_cast<size_t>(response.sites_size());
    } while (response.more());
    std::printf("%-34s %.1f ms, %zu sites\n", "watch: snapshot", MillisecondsSince(start), sites);
    Deltas(*stream, changes);
    context.TryCancel();
  }

 private:
  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    return arguments;
  }

  void Deltas(grpc::ClientReader<v1::WatchSitesResponse>& stream, int changes) {
    std::string name = FirstPage("").sites(0).name();
    std::vector<double> times;
    uint64_t missed = 0;
    v1::WatchSitesResponse response;
    for (int i = 0; i < changes; ++i) {
      v1::SetPolicyRequest change;
      change.set_name(name);
      change.mutable_policy()->set_linked_after(static_cast<uint32_t>(i) + 2);
      v1::Policy unused;
      grpc::ClientContext context;
      auto start = Clock::now();
      Check(stub_->SetPolicy(&context, change, &unused));
      bool told = false;
      while (!told) {
        if (!stream.Read(&response)) return Check(stream.Finish());
        missed += response.missed();
        for (const v1::Site& site : response.sites())
          told = told || (site.name() == name &&
                          site.policy().linked_after() == change.policy().linked_after());
      }
      times.push_back(MillisecondsSince(start));
    }
    Report("watch: change to delta, every 50 ms", times);
    std::printf("%-34s %llu\n", "watch: updates missed", static_cast<unsigned long long>(missed));
  }

  std::unique_ptr<v1::Sites::Stub> stub_;
  const std::string parent_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: many_sites ADDRESS VM [CHANGES]\n");
    return 2;
  }
  Bench bench(argv[1], std::string("vms/") + argv[2]);
  bench.List("list: first page", "");
  bench.List("list: first page, by state", "state=PINNED");
  bench.List("list: first page, by symbol", "symbol:no such symbol");
  bench.Watch(argc > 3 ? std::atoi(argv[3]) : 50);
  return 0;
}
