// SPDX-License-Identifier: Apache-2.0
// Filter and encodings.
#include "daemon/control/trace_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "daemon/common/convert.h"

namespace trapline::daemon {
namespace {

// As traces.proto has it.
struct PackedRecord {
  uint64_t time_ns, number, args[4], result;
  uint32_t site, cycles;
  uint16_t vcpu;
  uint8_t path, cpl;
  uint32_t zero;
};
static_assert(sizeof(PackedRecord) == 72 && std::endian::native == std::endian::little);

template <typename Field, typename T>
bool Among(const Field& field, T value) {
  return field.empty() || std::find(field.begin(), field.end(), value) != field.end();
}

}  // namespace

TracedSites::Site& TracedSites::Get(const hypercall::StatsReader& stats, uint32_t index) {
  auto [known, added] = sites_.try_emplace(index);
  Site& site = known->second;
  if (added) {
    auto record = stats.Record(index);
    if (record.ok()) site = {record->gpa, record->gva, record->symbol};
    if (site.symbol.empty()) unnamed_ = fresh_ = true;
  }
  return site;
}

void TracedSites::Refresh(const hypercall::StatsReader& stats) {
  unnamed_ = false;
  for (auto& [index, site] : sites_) {
    if (!site.symbol.empty()) continue;
    auto record = stats.Record(index);
    if (record.ok() && !record->symbol.empty()) {
      site = {record->gpa, record->gva, record->symbol};
    } else {
      unnamed_ = true;
    }
  }
}

void TracedSites::Clear() {
  sites_.clear();
  unnamed_ = fresh_ = false;
}

bool Matches(const v1::TraceFilter& filter, const hypercall::TraceEvent& event, uint64_t gpa) {
  constexpr int64_t kLastError = -4095;
  auto result = static_cast<int64_t>(event.result);
  return Among(filter.vcpus(), event.vcpu) && Among(filter.numbers(), event.number) &&
         Among(filter.sites(), gpa) && Among(filter.cpls(), uint32_t{event.cpl}) &&
         Among(filter.paths(), static_cast<int>(ToProto(event.path))) &&
         event.cycles >= filter.min_cycles() &&
         (!filter.failed() || (result < 0 && result >= kLastError));
}

void AddRecords(const std::string& vm, const hypercall::StatsReader& stats,
                const std::vector<hypercall::TraceEvent>& events, TracedSites& sites,
                v1::StreamHypercallsResponse* response) {
  for (const hypercall::TraceEvent& event : events) {
    const TracedSites::Site& site = sites.Get(stats, event.site);
    v1::TraceRecord* record = response->add_records();
    *record = ToProto(vm, event, site.gpa, stats.start_realtime_ns());
    if (event.gva == 0) record->set_gva(site.gva);
    record->set_symbol(site.symbol);
  }
}

void AddPacked(const std::string& vm, const hypercall::StatsReader& stats,
               const std::vector<hypercall::TraceEvent>& events, TracedSites& sites,
               v1::StreamHypercallsResponse* response) {
  std::string& packed = *response->mutable_packed();
  size_t at = packed.size();
  packed.resize(at + events.size() * sizeof(PackedRecord));
  for (const hypercall::TraceEvent& event : events) {
    PackedRecord record{event.time_ns,
                        event.number,
                        {event.args[0], event.args[1], event.args[2], event.args[3]},
                        event.result,
                        event.site,
                        event.cycles,
                        static_cast<uint16_t>(event.vcpu),
                        static_cast<uint8_t>(ToProto(event.path)),
                        event.cpl,
                        0};
    std::memcpy(packed.data() + at, &record, sizeof record);
    at += sizeof record;
    TracedSites::Site& site = sites.Get(stats, event.site);
    if (std::exchange(site.told, true)) continue;
    v1::TraceSite* told = response->add_sites();
    told->set_index(event.site);
    told->set_name(SiteName(vm, site.gpa));
    told->set_gva(site.gva);
    told->set_symbol(site.symbol);
  }
}

}  // namespace trapline::daemon
