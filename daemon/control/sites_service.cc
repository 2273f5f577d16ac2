// SPDX-License-Identifier: Apache-2.0
// The Sites service: figures from the stats file, changes through the worker.
#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/hypercall/stats_reader.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/site_filter.h"
#include "daemon/control/worker_context.h"

namespace trapline::daemon {
namespace {

// What a name means: vms/{vm}/sites/{gpa}, or vms/{vm} alone where that is allowed.
struct Target {
  std::string vm_name;
  std::optional<uint64_t> gpa;
  std::shared_ptr<ManagedVm> vm;
};
enum class Names { kSites, kSitesAndVms };
grpc::Status FindTarget(Registry& registry, const std::string& name, Names names, Target* target) {
  std::vector<std::string> parts = absl::StrSplit(name, '/');
  uint64_t gpa = 0;
  bool site = parts.size() == 4 && parts[0] == "vms" && parts[2] == "sites" &&
              absl::SimpleHexAtoi(parts[3], &gpa);
  bool vm = names == Names::kSitesAndVms && parts.size() == 2 && parts[0] == "vms";
  if (!site && !vm) {
    return InvalidField("name", names == Names::kSites
                                    ? "must be vms/{vm}/sites/{gpa}"
                                    : "must be vms/{vm} or vms/{vm}/sites/{gpa}");
  }
  target->vm_name = "vms/" + parts[1];
  if (site) target->gpa = gpa;
  return registry.Find(target->vm_name, "name", &target->vm);
}
// The same where it takes the VM's worker.
grpc::Status FindTarget(Registry& registry, const std::string& name, Names names, Target* target,
                        std::shared_ptr<WorkerProcess>* worker) {
  if (auto status = FindTarget(registry, name, names, target); !status.ok()) return status;
  return target->vm->Worker(worker);
}

using Stats = std::shared_ptr<const hypercall::StatsReader>;
grpc::Status OpenStats(ManagedVm& vm, Stats* stats) {
  auto opened = vm.Stats();
  if (!opened.ok()) return FromCore(opened.status());
  *stats = *std::move(opened);
  return grpc::Status::OK;
}
// The same with symbols of new sites.
grpc::Status OpenNamed(ManagedVm& vm, absl::Time until, Stats* stats) {
  vm.Symbolize(until);
  return OpenStats(vm, stats);
}

grpc::Status NoSite(const std::string& vm, uint64_t gpa) {
  return Error(grpc::NOT_FOUND, "SITE_NOT_FOUND", absl::StrCat(vm, " has no site at ", Hex(gpa)),
               {{"vm", vm}, {"gpa", Hex(gpa)}});
}

std::optional<uint32_t> IndexOf(const hypercall::StatsReader& stats, uint64_t gpa) {
  for (const hypercall::SiteKey& key : stats.Keys()) {
    if (key.gpa == gpa) return key.index;
  }
  return std::nullopt;
}

grpc::Status FindSite(ManagedVm& vm, uint64_t gpa, absl::Time until, v1::Site* response) {
  Stats stats;
  if (auto status = OpenNamed(vm, until, &stats); !status.ok()) return status;
  auto index = IndexOf(*stats, gpa);
  auto site = index ? stats->Site(*index) : absl::NotFoundError("");
  if (!site.ok()) return NoSite("vms/" + vm.id(), gpa);
  *response = ToProto(vm.id(), *site);
  return grpc::Status::OK;
}

// ---- Pages: a token is where the next one begins ----

grpc::Status PageStart(const std::string& token, uint64_t* start) {
  if (token.empty() || absl::SimpleHexAtoi(token, start)) return grpc::Status::OK;
  return InvalidField("page_token", "is not one of this method's");
}

}  // namespace

// In the order of their addresses. Of those that are not on the page little is read.
grpc::Status SitesService::ListSites(grpc::ServerContext* context,
                                     const v1::ListSitesRequest* request,
                                     v1::ListSitesResponse* response) {
  std::shared_ptr<ManagedVm> vm;
  SiteFilter filter;
  Stats stats;
  size_t size = 0;
  uint64_t start = 0;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  if (auto status = SiteFilter::Parse(request->filter(), &filter); !status.ok()) return status;
  if (auto status = PageSize(request->page_size(), &size); !status.ok()) return status;
  if (auto status = PageStart(request->page_token(), &start); !status.ok()) return status;
  if (auto status = OpenNamed(*vm, DeadlineOf(*context), &stats); !status.ok()) return status;
  std::vector<hypercall::SiteKey> keys = stats->Keys();
  std::erase_if(keys, [&](const hypercall::SiteKey& key) {
    return key.gpa < start || !filter.MayMatch(key.state);
  });
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.gpa < b.gpa; });
  for (const hypercall::SiteKey& key : keys) {
    auto record = stats->Record(key.index);
    if (!record.ok() || !filter.Matches(*record)) continue;
    if (static_cast<size_t>(response->sites_size()) == size) {
      response->set_next_page_token(absl::StrCat(absl::Hex(key.gpa)));
      break;
    }
    auto site = stats->Site(key.index);
    if (site.ok()) *response->add_sites() = ToProto(vm->id(), *site);
  }
  return grpc::Status::OK;
}

grpc::Status SitesService::GetSite(grpc::ServerContext* context, const v1::GetSiteRequest* request,
                                   v1::Site* response) {
  Target target;
  if (auto status = FindTarget(registry_, request->name(), Names::kSites, &target); !status.ok())
    return status;
  return FindSite(*target.vm, *target.gpa, DeadlineOf(*context), response);
}

grpc::Status SitesService::GetSiteTotals(grpc::ServerContext*,
                                         const v1::GetSiteTotalsRequest* request,
                                         v1::SiteTotals* response) {
  std::shared_ptr<ManagedVm> vm;
  Stats stats;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  if (auto status = OpenStats(*vm, &stats); !status.ok()) return status;
  *response = ToProto(stats->Survey(nullptr));
  return grpc::Status::OK;
}

grpc::Status SitesService::ListSiteTransitions(grpc::ServerContext* context,
                                               const v1::ListSiteTransitionsRequest* request,
                                               v1::ListSiteTransitionsResponse* response) {
  constexpr size_t kAtOnce = 4096;
  Target target;
  Stats stats;
  size_t size = 0;
  uint64_t after = 0, lost = 0;
  std::optional<uint32_t> only;
  if (auto status = FindTarget(registry_, request->parent(), Names::kSitesAndVms, &target);
      !status.ok())
    return status;
  if (auto status = PageSize(request->page_size(), &size); !status.ok()) return status;
  if (auto status = PageStart(request->page_token(), &after); !status.ok()) return status;
  if (auto status = OpenNamed(*target.vm, DeadlineOf(*context), &stats); !status.ok())
    return status;
  if (target.gpa) {
    only = IndexOf(*stats, *target.gpa);
    if (!only) return NoSite(target.vm_name, *target.gpa);
  }
  for (;;) {
    auto transitions = stats->Transitions(after, kAtOnce, &lost);
    response->set_lost(lost);
    if (transitions.empty()) return grpc::Status::OK;
    for (const hypercall::SiteTransition& transition : transitions) {
      auto site = stats->Record(transition.site);
      if ((only && transition.site != *only) || !site.ok()) continue;
      if (static_cast<size_t>(response->transitions_size()) == size) {
        response->set_next_page_token(absl::StrCat(absl::Hex(after)));
        return grpc::Status::OK;
      }
      *response->add_transitions() =
          ToProto(target.vm->id(), transition, *site, stats->start_realtime_ns());
      after = transition.sequence;
    }
    after = transitions.back().sequence;
  }
}

grpc::Status SitesService::GetPolicy(grpc::ServerContext* context,
                                     const v1::GetPolicyRequest* request, v1::Policy* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSitesAndVms, &target);
      !status.ok())
    return status;
  if (target.gpa) {
    v1::Site site;
    if (auto status = FindSite(*target.vm, *target.gpa, DeadlineOf(*context), &site); !status.ok())
      return status;
    if (site.has_policy()) {
      *response = site.policy();
      return grpc::Status::OK;
    }
  }
  if (auto status = target.vm->Worker(&worker); !status.ok()) return status;
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  return FromWorker(worker->stub().GetPolicy(&call, {}, response), target.vm->id());
}

grpc::Status SitesService::SetPolicy(grpc::ServerContext* context,
                                     const v1::SetPolicyRequest* request, v1::Policy* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSitesAndVms, &target, &worker);
      !status.ok())
    return status;
  worker::v1::SetPolicyRequest set;
  if (target.gpa) set.set_gpa(*target.gpa);
  if (request->has_policy()) *set.mutable_policy() = request->policy();
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  google::protobuf::Empty nothing;
  grpc::Status status = worker->stub().SetPolicy(&call, set, &nothing);
  if (status.error_code() == grpc::NOT_FOUND && target.gpa)
    return NoSite(target.vm_name, *target.gpa);
  if (!status.ok()) return FromWorker(status, target.vm->id());
  std::optional<v1::Policy> policy;
  if (request->has_policy()) policy = request->policy();
  if (auto kept = target.vm->KeepPolicy(target.gpa, policy); !kept.ok()) return kept;
  v1::GetPolicyRequest get;
  get.set_name(request->name());
  return GetPolicy(context, &get, response);
}

grpc::Status SitesService::RevertSite(grpc::ServerContext* context,
                                      const v1::RevertSiteRequest* request, v1::Site* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSites, &target, &worker);
      !status.ok())
    return status;
  worker::v1::SiteRequest site;
  site.set_gpa(*target.gpa);
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  google::protobuf::Empty nothing;
  grpc::Status status = worker->stub().Revert(&call, site, &nothing);
  if (status.error_code() == grpc::NOT_FOUND) return NoSite(target.vm_name, *target.gpa);
  if (status.error_code() == grpc::FAILED_PRECONDITION) {
    return Error(grpc::FAILED_PRECONDITION, "SITE_NOT_REWRITTEN", status.error_message(),
                 {{"gpa", Hex(*target.gpa)}});
  }
  if (!status.ok()) return FromWorker(status, target.vm->id());
  return FindSite(*target.vm, *target.gpa, DeadlineOf(*context), response);
}

grpc::Status SitesService::DisassembleSite(grpc::ServerContext* context,
                                           const v1::DisassembleSiteRequest* request,
                                           v1::SiteCode* response) {
  constexpr uint32_t kDefault = 6, kMost = 100;
  if (request->before() > kMost) return InvalidField("before", absl::StrCat("at most ", kMost));
  if (request->after() > kMost) return InvalidField("after", absl::StrCat("at most ", kMost));
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSites, &target, &worker);
      !status.ok())
    return status;
  worker::v1::DisassembleSiteRequest ask;
  ask.set_gpa(*target.gpa);
  ask.set_before(request->before() == 0 ? kDefault : request->before());
  ask.set_after(request->after() == 0 ? kDefault : request->after());
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  grpc::Status status = worker->stub().DisassembleSite(&call, ask, response);
  if (status.error_code() == grpc::NOT_FOUND) return NoSite(target.vm_name, *target.gpa);
  if (!status.ok()) return FromWorker(status, target.vm->id());
  response->set_name(absl::StrCat(target.vm_name, "/sites/", Hex(*target.gpa)));
  return grpc::Status::OK;
}

grpc::Status SitesService::ResetSiteCounters(grpc::ServerContext* context,
                                             const v1::ResetSiteCountersRequest* request,
                                             v1::SiteTotals* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSitesAndVms, &target, &worker);
      !status.ok())
    return status;
  worker::v1::SiteRequest reset;
  if (target.gpa) reset.set_gpa(*target.gpa);
  grpc::Status status = target.vm->ResetCounters(reset, DeadlineOf(*context));
  if (status.error_code() == grpc::NOT_FOUND && target.gpa)
    return NoSite(target.vm_name, *target.gpa);
  if (!status.ok()) return FromWorker(status, target.vm->id());
  Stats stats;
  if (auto opened = OpenStats(*target.vm, &stats); !opened.ok()) return opened;
  *response = ToProto(stats->Survey(nullptr));
  return grpc::Status::OK;
}

}  // namespace trapline::daemon
