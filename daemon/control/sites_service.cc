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

namespace trapline::daemon {
namespace {

constexpr absl::Duration kMinInterval = absl::Milliseconds(100),
                         kDefaultInterval = absl::Seconds(1);

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

grpc::Status OpenStats(ManagedVm& vm, std::unique_ptr<hypercall::StatsReader>* reader) {
  vm.Symbolize();
  auto opened = hypercall::StatsReader::Open(vm.stats_path());
  if (!opened.ok()) return FromCore(opened.status());
  *reader = *std::move(opened);
  return grpc::Status::OK;
}

grpc::Status NoSite(const std::string& vm, uint64_t gpa) {
  return Error(grpc::NOT_FOUND, "SITE_NOT_FOUND", absl::StrCat(vm, " has no site at ", Hex(gpa)),
               {{"vm", vm}, {"gpa", Hex(gpa)}});
}

grpc::Status FindSite(ManagedVm& vm, uint64_t gpa, v1::Site* response) {
  std::unique_ptr<hypercall::StatsReader> reader;
  if (auto status = OpenStats(vm, &reader); !status.ok()) return status;
  for (const hypercall::SiteView& site : reader->Sites()) {
    if (site.gpa != gpa) continue;
    *response = ToProto(vm.id(), site);
    return grpc::Status::OK;
  }
  return NoSite("vms/" + vm.id(), gpa);
}

v1::SiteTotals TotalsOf(const std::vector<hypercall::SiteView>& sites) {
  v1::SiteTotals totals;
  totals.set_sites(sites.size());
  for (const hypercall::SiteView& site : sites) {
    totals.set_traps(totals.traps() + site.traps());
    totals.set_fast_calls(totals.fast_calls() + site.fast_calls());
    for (uint64_t cycles : site.cycles) totals.set_cycles(totals.cycles() + cycles);
  }
  return totals;
}

grpc::Status ParseFilter(const std::string& filter,
                         std::vector<std::pair<std::string, std::string>>* terms) {
  if (filter.empty()) return grpc::Status::OK;
  for (absl::string_view term : absl::StrSplit(filter, " AND ")) {
    v1::Site::State state;
    std::string text(term);
    if (text.rfind("state=", 0) == 0 && v1::Site::State_Parse(text.substr(6), &state)) {
      terms->emplace_back("state", text.substr(6));
    } else if (text.rfind("symbol:", 0) == 0) {
      terms->emplace_back("symbol", text.substr(7));
    } else {
      return InvalidField("filter",
                          absl::StrCat("cannot understand \"", text,
                                       "\"; state=STATE and symbol:TEXT can be joined by AND"));
    }
  }
  return grpc::Status::OK;
}
bool Matches(const v1::Site& site, const std::vector<std::pair<std::string, std::string>>& terms) {
  return std::all_of(terms.begin(), terms.end(), [&](const auto& term) {
    if (term.first == "state") return v1::Site::State_Name(site.state()) == term.second;
    return site.symbol().find(term.second) != std::string::npos;
  });
}

}  // namespace

grpc::Status SitesService::ListSites(grpc::ServerContext*, const v1::ListSitesRequest* request,
                                     v1::ListSitesResponse* response) {
  std::shared_ptr<ManagedVm> vm;
  std::vector<std::pair<std::string, std::string>> terms;
  std::unique_ptr<hypercall::StatsReader> reader;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  if (auto status = ParseFilter(request->filter(), &terms); !status.ok()) return status;
  if (auto status = OpenStats(*vm, &reader); !status.ok()) return status;
  std::vector<v1::Site> found;
  for (const hypercall::SiteView& view : reader->Sites()) {
    v1::Site site = ToProto(vm->id(), view);
    if (Matches(site, terms)) found.push_back(std::move(site));
  }
  std::sort(found.begin(), found.end(),
            [](const v1::Site& a, const v1::Site& b) { return a.gpa() < b.gpa(); });
  Page page;
  if (auto status = Paginate(request->page_size(), request->page_token(), found.size(), &page);
      !status.ok())
    return status;
  for (size_t i = page.start; i < page.end; ++i) *response->add_sites() = std::move(found[i]);
  response->set_next_page_token(page.next_token);
  return grpc::Status::OK;
}

grpc::Status SitesService::GetSite(grpc::ServerContext*, const v1::GetSiteRequest* request,
                                   v1::Site* response) {
  Target target;
  if (auto status = FindTarget(registry_, request->name(), Names::kSites, &target); !status.ok())
    return status;
  return FindSite(*target.vm, *target.gpa, response);
}

grpc::Status SitesService::WatchSites(grpc::ServerContext* context,
                                      const v1::WatchSitesRequest* request,
                                      grpc::ServerWriter<v1::WatchSitesResponse>* writer) {
  std::shared_ptr<ManagedVm> vm;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  absl::Duration interval = kDefaultInterval;
  if (request->has_interval()) {
    interval = absl::Seconds(request->interval().seconds()) +
               absl::Nanoseconds(request->interval().nanos());
    if (interval < kMinInterval) return InvalidField("interval", "must be at least 100 ms");
  }
  writer->SendInitialMetadata();
  std::map<uint64_t, std::string> sent;
  for (;;) {
    std::unique_ptr<hypercall::StatsReader> reader;
    if (auto status = OpenStats(*vm, &reader); !status.ok()) return status;
    v1::WatchSitesResponse response;
    auto sites = reader->Sites();
    for (const hypercall::SiteView& view : sites) {
      v1::Site site = ToProto(vm->id(), view);
      std::string bytes = site.SerializeAsString();
      std::string& known = sent[view.gpa];
      if (known == bytes) continue;
      known = std::move(bytes);
      *response.add_sites() = std::move(site);
    }
    *response.mutable_totals() = TotalsOf(sites);
    if (!writer->Write(response)) return grpc::Status::CANCELLED;
    absl::Time until = absl::Now() + interval;
    while (absl::Now() < until) {
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
      if (registry_.shutting_down()) return ShuttingDown();
      absl::SleepFor(std::min(kStreamPoll, until - absl::Now()));
    }
  }
}

grpc::Status SitesService::GetSiteTotals(grpc::ServerContext*,
                                         const v1::GetSiteTotalsRequest* request,
                                         v1::SiteTotals* response) {
  std::shared_ptr<ManagedVm> vm;
  std::unique_ptr<hypercall::StatsReader> reader;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  if (auto status = OpenStats(*vm, &reader); !status.ok()) return status;
  *response = TotalsOf(reader->Sites());
  return grpc::Status::OK;
}

grpc::Status SitesService::GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest* request,
                                     v1::Policy* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSitesAndVms, &target);
      !status.ok())
    return status;
  if (target.gpa) {
    v1::Site site;
    if (auto status = FindSite(*target.vm, *target.gpa, &site); !status.ok()) return status;
    if (site.has_policy()) {
      *response = site.policy();
      return grpc::Status::OK;
    }
  }
  if (auto status = target.vm->Worker(&worker); !status.ok()) return status;
  grpc::ClientContext call;
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
  grpc::ClientContext call;
  google::protobuf::Empty nothing;
  grpc::Status status = worker->stub().SetPolicy(&call, set, &nothing);
  if (status.error_code() == grpc::NOT_FOUND && target.gpa)
    return NoSite(target.vm_name, *target.gpa);
  if (!status.ok()) return FromWorker(status, target.vm->id());
  v1::GetPolicyRequest get;
  get.set_name(request->name());
  return GetPolicy(context, &get, response);
}

grpc::Status SitesService::RevertSite(grpc::ServerContext*, const v1::RevertSiteRequest* request,
                                      v1::Site* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSites, &target, &worker);
      !status.ok())
    return status;
  worker::v1::SiteRequest site;
  site.set_gpa(*target.gpa);
  grpc::ClientContext call;
  google::protobuf::Empty nothing;
  grpc::Status status = worker->stub().Revert(&call, site, &nothing);
  if (status.error_code() == grpc::NOT_FOUND) return NoSite(target.vm_name, *target.gpa);
  if (status.error_code() == grpc::FAILED_PRECONDITION) {
    return Error(grpc::FAILED_PRECONDITION, "SITE_NOT_REWRITTEN", status.error_message(),
                 {{"gpa", Hex(*target.gpa)}});
  }
  if (!status.ok()) return FromWorker(status, target.vm->id());
  return FindSite(*target.vm, *target.gpa, response);
}

grpc::Status SitesService::ResetSiteCounters(grpc::ServerContext*,
                                             const v1::ResetSiteCountersRequest* request,
                                             v1::SiteTotals* response) {
  Target target;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = FindTarget(registry_, request->name(), Names::kSitesAndVms, &target, &worker);
      !status.ok())
    return status;
  worker::v1::SiteRequest reset;
  if (target.gpa) reset.set_gpa(*target.gpa);
  grpc::ClientContext call;
  google::protobuf::Empty nothing;
  grpc::Status status = worker->stub().ResetCounters(&call, reset, &nothing);
  if (status.error_code() == grpc::NOT_FOUND && target.gpa)
    return NoSite(target.vm_name, *target.gpa);
  if (!status.ok()) return FromWorker(status, target.vm->id());
  std::unique_ptr<hypercall::StatsReader> reader;
  if (auto opened = OpenStats(*target.vm, &reader); !opened.ok()) return opened;
  *response = TotalsOf(reader->Sites());
  return grpc::Status::OK;
}

}  // namespace trapline::daemon
