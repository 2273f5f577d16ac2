// SPDX-License-Identifier: Apache-2.0
// The Traces service: reads the rings of the stats file, filters, and sends.
#include <algorithm>
#include <unordered_map>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/hypercall/stats_reader.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"

namespace trapline::daemon {
namespace {

constexpr size_t kBatch = 512;
// Between looks that did not fill a batch: many records in one message cost less than each in its
// own.
constexpr absl::Duration kIdle = absl::Milliseconds(5);
constexpr uint32_t kOver = 1u << v1::Vm::STOPPED | 1u << v1::Vm::FAILED;

template <typename Field, typename T>
bool Among(const Field& field, T value) {
  return field.empty() || std::find(field.begin(), field.end(), value) != field.end();
}

bool Matches(const v1::TraceFilter& filter, const v1::TraceRecord& record, uint64_t gpa) {
  bool failed = record.result() < 0 && record.result() >= -4095;
  return Among(filter.vcpus(), record.vcpu()) && Among(filter.numbers(), record.number()) &&
         Among(filter.sites(), gpa) && Among(filter.cpls(), record.cpl()) &&
         Among(filter.paths(), static_cast<int>(record.path())) &&
         record.cycles() >= filter.min_cycles() && (!filter.failed() || failed);
}

// Addresses and symbols of the sites that a stream has met. A guest may have no symbols yet, so
// those that are missing are looked up again from time to time.
class KnownSites {
 public:
  struct Site {
    uint64_t gpa = 0;
    std::string symbol;
  };

  KnownSites(ManagedVm& vm, const hypercall::StatsReader& reader) : vm_(vm), reader_(reader) {}

  const Site& Get(uint32_t index) {
    auto [site, added] = sites_.try_emplace(index);
    if (added) Read(index, &site->second);
    if (site->second.symbol.empty() && absl::Now() >= next_search_) Search();
    return site->second;
  }

 private:
  static constexpr absl::Duration kBetweenSearches = absl::Seconds(1);

  void Read(uint32_t index, Site* site) {
    auto view = reader_.Site(index);
    if (view.ok()) *site = {view->gpa, view->symbol};
  }
  void Search() {
    vm_.Symbolize();
    next_search_ = absl::Now() + kBetweenSearches;
    for (auto& [index, site] : sites_) {
      if (site.symbol.empty()) Read(index, &site);
    }
  }

  ManagedVm& vm_;
  const hypercall::StatsReader& reader_;
  absl::Time next_search_ = absl::InfinitePast();
  std::unordered_map<uint32_t, Site> sites_;
};

}  // namespace

grpc::Status TracesService::StreamHypercalls(
    grpc::ServerContext* context, const v1::StreamHypercallsRequest* request,
    grpc::ServerWriter<v1::StreamHypercallsResponse>* writer) {
  std::shared_ptr<ManagedVm> vm;
  if (auto status = registry_.Find(request->parent(), "parent", &vm); !status.ok()) return status;
  auto opened = hypercall::StatsReader::Open(vm->stats_path());
  if (!opened.ok()) return FromCore(opened.status());
  hypercall::StatsReader& reader = **opened;
  auto cursor = reader.End();
  if (auto status = vm->AddTracer(); !status.ok()) return status;
  auto remove = absl::MakeCleanup([&] { vm->RemoveTracer(); });
  writer->SendInitialMetadata();

  KnownSites sites(*vm, reader);
  uint64_t dropped = 0, told = 0, matched = 0;
  uint32_t sample = std::max(request->sample(), 1u);
  for (bool last = false;;) {
    std::vector<hypercall::TraceEvent> events = reader.ReadTrace(&cursor, kBatch);
    dropped = std::max(dropped, reader.Dropped(cursor));
    v1::StreamHypercallsResponse response;
    for (const hypercall::TraceEvent& event : events) {
      const KnownSites::Site& site = sites.Get(event.site);
      v1::TraceRecord record = ToProto(vm->id(), event, site.gpa, reader.start_realtime_ns());
      record.set_symbol(site.symbol);
      if (!Matches(request->filter(), record, site.gpa) || matched++ % sample != 0) continue;
      *response.add_records() = std::move(record);
    }
    response.set_dropped(dropped);
    if (!response.records().empty() || dropped != told) {
      told = dropped;
      if (!writer->Write(response)) return grpc::Status::CANCELLED;
    }
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    if (registry_.shutting_down()) return ShuttingDown();
    if (events.size() == kBatch) continue;
    if (last && events.empty()) {
      writer->Write(response);
      return grpc::Status::OK;
    }
    last = vm->AwaitState(kOver, kIdle);
  }
}

}  // namespace trapline::daemon
