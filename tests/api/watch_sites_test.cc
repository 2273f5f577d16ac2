// SPDX-License-Identifier: Apache-2.0
// Sites by pages and by watches: snapshots, deltas, resuming, slow clients, many clients; and what
// became of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <utility>

#include "grpcpp/grpcpp.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

constexpr int kSites = 1200;
constexpr char kParent[] = "vms/a";
constexpr char kBusy[] = "sites=1200 seconds=600 rate=2000";

class WatchSites : public ::testing::Test {
 protected:
  // A VM whose sites have all been called. What its guest does then says its command line.
  void StartVm(const std::string& command_line) {
    ASSERT_TRUE(daemon_.CreateVm("a", "many_sites", command_line, v1::ENGINE_SOFT).ok());
    ASSERT_TRUE(daemon_.StartVm("a").ok());
    v1::GetSiteTotalsRequest request;
    request.set_parent(kParent);
    v1::SiteTotals totals;
    do {
      grpc::ClientContext context;
      ASSERT_TRUE(daemon_.sites().GetSiteTotals(&context, request, &totals).ok());
    } while (totals.sites() < kSites);
  }

  // One client.
  struct Watch {
    explicit Watch(DaemonProcess& daemon, const std::string& token = "",
                   const std::string& filter = "")
        : Watch(daemon.sites(), token, filter) {}
    Watch(v1::Sites::Stub& sites, const std::string& token, const std::string& filter) {
      v1::WatchSitesRequest request;
      request.set_parent(kParent);
      request.mutable_interval()->set_nanos(100'000'000);
      request.set_resume_token(token);
      request.set_filter(filter);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      stream = sites.WatchSites(&context, request);
    }
    ~Watch() {
      context.TryCancel();
      if (stream) stream->Finish();
    }
    // How a stream that has ended did so.
    grpc::StatusCode End() { return std::exchange(stream, nullptr)->Finish().error_code(); }
    // The next revision, whole. False: the stream has ended.
    bool Next() {
      snapshot = false;
      missed = 0;
      sites.clear();
      v1::WatchSitesResponse response;
      do {
        if (!stream->Read(&response)) return false;
        snapshot = snapshot || response.snapshot();
        missed += response.missed();
        for (const v1::Site& site : response.sites()) sites[site.name()] = site;
      } while (response.more());
      revision = response.revision();
      token = response.resume_token();
      totals = response.totals();
      return true;
    }

    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchSitesResponse>> stream;
    std::map<std::string, v1::Site> sites;
    bool snapshot = false;
    uint64_t revision = 0, missed = 0;
    std::string token;
    v1::SiteTotals totals;
  };

  v1::ListSitesResponse List(const std::string& filter, int size, const std::string& token) {
    v1::ListSitesRequest request;
    request.set_parent(kParent);
    request.set_filter(filter);
    request.set_page_size(size);
    request.set_page_token(token);
    v1::ListSitesResponse response;
    grpc::ClientContext context;
    grpc::Status status = daemon_.sites().ListSites(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  // One that is called no more: the last ten are busy.
  std::string QuietSite() { return List("symbol:AllSites", 1, "").sites(0).name(); }
  // One that is called all the time.
  std::string LinkedSite() {
    for (;;) {
      v1::ListSitesResponse page = List("state=LINKED", 1, "");
      if (page.sites_size() > 0) return page.sites(0).name();
    }
  }
  void Pin(const std::string& site) {
    v1::SetPolicyRequest request;
    request.set_name(site);
    request.mutable_policy()->set_limit(v1::TECHNIQUE_EMULATE);
    v1::Policy policy;
    grpc::ClientContext context;
    ASSERT_TRUE(daemon_.sites().SetPolicy(&context, request, &policy).ok());
  }
  v1::ListSiteTransitionsResponse Transitions(const std::string& parent, int size,
                                              const std::string& token) {
    v1::ListSiteTransitionsRequest request;
    request.set_parent(parent);
    request.set_page_size(size);
    request.set_page_token(token);
    v1::ListSiteTransitionsResponse response;
    grpc::ClientContext context;
    grpc::Status status = daemon_.sites().ListSiteTransitions(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  DaemonProcess daemon_;
};

TEST_F(WatchSites, PagesHaveEverySiteOnceInOrder) {
  StartVm(kBusy);
  std::vector<uint64_t> addresses;
  std::string token;
  do {
    v1::ListSitesResponse page = List("", 500, token);
    for (const v1::Site& site : page.sites()) addresses.push_back(site.gpa());
    token = page.next_page_token();
  } while (!token.empty());
  // Those of the guest's own library are sites too.
  EXPECT_GE(addresses.size(), size_t{kSites});
  EXPECT_TRUE(std::adjacent_find(addresses.begin(), addresses.end(), std::greater_equal<>()) ==
              addresses.end());
}

TEST_F(WatchSites, APageOfFewHasThoseThatMatch) {
  StartVm(kBusy);
  std::string pinned = QuietSite();
  Pin(pinned);
  v1::ListSitesResponse page = List("state=PINNED", 10, "");
  ASSERT_EQ(page.sites_size(), 1);
  EXPECT_EQ(page.sites(0).name(), pinned);
  EXPECT_EQ(page.next_page_token(), "");
  EXPECT_EQ(List("symbol:AllSites AND state=PINNED", 10, "").sites_size(), 1);
  EXPECT_EQ(List("symbol:nothing", 10, "").sites_size(), 0);
}

TEST_F(WatchSites, ASnapshotComesFirstAndThenWhatChanged) {
  StartVm(kBusy);
  Watch watch(daemon_);
  ASSERT_TRUE(watch.Next());
  EXPECT_TRUE(watch.snapshot);
  EXPECT_GE(watch.sites.size(), size_t{kSites});
  EXPECT_GE(watch.totals.sites(), uint64_t{kSites});
  std::string quiet = QuietSite();
  EXPECT_NE(watch.sites[quiet].symbol(), "");
  uint64_t before = watch.revision;
  ASSERT_TRUE(watch.Next());
  EXPECT_FALSE(watch.snapshot);
  EXPECT_GE(watch.revision, before);
  EXPECT_LT(watch.sites.size(), 50u) << "ten are busy";
  EXPECT_EQ(watch.sites.count(quiet), 0u);
  Pin(quiet);
  while (watch.sites.count(quiet) == 0) ASSERT_TRUE(watch.Next());
  EXPECT_EQ(watch.sites[quiet].state(), v1::Site::PINNED);
}

TEST_F(WatchSites, AWatchGoesOnWhereAnotherBroke) {
  StartVm(kBusy);
  std::string token, pinned = QuietSite();
  {
    Watch watch(daemon_);
    ASSERT_TRUE(watch.Next());
    token = watch.token;
  }
  Pin(pinned);
  Watch watch(daemon_, token);
  ASSERT_TRUE(watch.Next());
  EXPECT_FALSE(watch.snapshot);
  EXPECT_LT(watch.sites.size(), 50u);
  EXPECT_EQ(watch.sites.count(pinned), 1u) << "it changed while nobody watched";
}

TEST_F(WatchSites, ATokenOfAnotherLifeIsOutOfRange) {
  StartVm(kBusy);
  Watch watch(daemon_, "1234-1");
  EXPECT_FALSE(watch.Next());
  EXPECT_EQ(watch.End(), grpc::OUT_OF_RANGE);
  Watch nonsense(daemon_, "what is this");
  EXPECT_FALSE(nonsense.Next());
  EXPECT_EQ(nonsense.End(), grpc::OUT_OF_RANGE);
}

TEST_F(WatchSites, ASiteThatMatchesNoLongerIsSentOnceMore) {
  StartVm(kBusy);
  std::string site = LinkedSite();
  Watch watch(daemon_, "", "state=LINKED");
  ASSERT_TRUE(watch.Next());
  EXPECT_EQ(watch.sites.count(site), 1u);
  Pin(site);
  do {
    ASSERT_TRUE(watch.Next());
  } while (watch.sites.count(site) == 0 || watch.sites[site].state() == v1::Site::LINKED);
  EXPECT_EQ(watch.sites[site].state(), v1::Site::PINNED);
}

TEST_F(WatchSites, AClientThatDoesNotReadIsToldHowManyUpdatesItMissed) {
  StartVm("sites=1200 busy=1200 seconds=600");
  // A connection that holds little for one who does not read: 1,200 sites come ten times a second.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
  auto stub = v1::Sites::NewStub(grpc::CreateCustomChannel(
      "unix:" + daemon_.directory() + "/d.sock", grpc::InsecureChannelCredentials(), arguments));
  Watch slow(*stub, "", ""), quick(daemon_);
  ASSERT_TRUE(slow.Next());
  uint64_t quick_missed = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(quick.Next());
    quick_missed += quick.missed;
  }
  uint64_t slow_missed = 0;
  for (int i = 0; i < 60 && slow_missed <= quick_missed; ++i) {
    ASSERT_TRUE(slow.Next());
    slow_missed += slow.missed;
  }
  EXPECT_LT(quick_missed, slow_missed) << "nobody waits for the slow one";
}

TEST_F(WatchSites, AHundredClientsMayWatchOneVm) {
  StartVm(kBusy);
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 100; ++i) watches.push_back(std::make_unique<Watch>(daemon_));
  for (auto& watch : watches) {
    ASSERT_TRUE(watch->Next());
    EXPECT_TRUE(watch->snapshot);
    EXPECT_GE(watch->sites.size(), size_t{kSites});
  }
  for (auto& watch : watches) {
    ASSERT_TRUE(watch->Next());
    EXPECT_FALSE(watch->snapshot);
  }
}

TEST_F(WatchSites, AWatchOutlivesTheWorkerAndShowsTheNextOne) {
  StartVm(kBusy);
  Watch watch(daemon_);
  ASSERT_TRUE(watch.Next());
  for (pid_t worker : daemon_.Children("trapline-vmm")) kill(worker, SIGKILL);
  EXPECT_EQ(daemon_.AwaitVm("a", v1::Vm::FAILED).state(), v1::Vm::FAILED);
  EXPECT_GE(List("", 1000, "").sites_size(), 1000) << "of a VM that failed, too";
  ASSERT_TRUE(daemon_.StartVm("a").ok());
  do {
    ASSERT_TRUE(watch.Next());
  } while (!watch.snapshot);
}

TEST_F(WatchSites, WhatBecameOfASiteIsOnRecordAfterTheWorkerIsLost) {
  StartVm(kBusy);
  std::string site = LinkedSite();
  Pin(site);
  for (pid_t worker : daemon_.Children("trapline-vmm")) kill(worker, SIGKILL);
  daemon_.AwaitVm("a", v1::Vm::FAILED);
  auto transitions = Transitions(site, 100, "").transitions();
  ASSERT_EQ(transitions.size(), 4);
  EXPECT_EQ(transitions[0].from(), v1::Site::STATE_UNSPECIFIED);
  EXPECT_EQ(transitions[0].vcpu(), 0u);
  EXPECT_EQ(transitions[2].to(), v1::Site::LINKED);
  EXPECT_EQ(transitions[2].policy().limit(), v1::TECHNIQUE_LINKED);
  EXPECT_EQ(transitions[3].to(), v1::Site::PINNED);
  EXPECT_FALSE(transitions[3].has_vcpu());
  EXPECT_EQ(transitions[3].policy().limit(), v1::TECHNIQUE_EMULATE);
}

TEST_F(WatchSites, TransitionsComeByPages) {
  StartVm(kBusy);
  std::string token;
  uint64_t known = 0, pages = 0;
  do {
    auto page = Transitions(kParent, 1000, token);
    for (const v1::SiteTransition& transition : page.transitions())
      EXPECT_EQ(transition.sequence(), ++known);
    token = page.next_page_token();
    ++pages;
  } while (!token.empty());
  EXPECT_GE(known, uint64_t{2 * kSites}) << "found and patched, at least";
  EXPECT_GE(pages, 3u);
}

}  // namespace
}  // namespace trapline::daemon
