// SPDX-License-Identifier: Apache-2.0
// Checked reading of the stats file.
#include "core/hypercall/stats_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked.h"
#include "core/base/unique_fd.h"
#include "core/hypercall/stats_file.h"

namespace trapline::hypercall {
namespace {

constexpr uint32_t kMaxVcpus = 256;
constexpr int kTries = 100;

template <typename T>
T Get(const Shared<T>& value) {
  return value.load(std::memory_order_relaxed);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StatsReader>> StatsReader::Open(const std::string& path) {
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid())
    return absl::NotFoundError(absl::StrCat("stats file ", path, ": ", strerror(errno)));
  struct stat info;
  if (fstat(fd.get(), &info) != 0 || static_cast<uint64_t>(info.st_size) < sizeof(StatsHeader)) {
    return absl::DataLossError(absl::StrCat("stats file ", path, ": too short for its header"));
  }
  auto reader = std::unique_ptr<StatsReader>(new StatsReader);
  auto size = static_cast<uint64_t>(info.st_size);
  auto file = base::MappedFile::Map(fd.get(), size, base::MappedFile::Mode::kRead);
  if (!file.ok()) {
    return absl::Status(file.status().code(),
                        absl::StrCat("stats file ", path, ": ", file.status().message()));
  }
  reader->file_ = *std::move(file);

  // Copied once: the writer could change them under us.
  const StatsHeader& header = reader->header();
  uint32_t vcpus = header.vcpus;
  if (header.magic != kStatsMagic)
    return absl::DataLossError(absl::StrCat("stats file ", path, ": not one"));
  if (header.version != kStatsVersion) {
    return absl::DataLossError(absl::StrCat("stats file ", path, ": version ", header.version,
                                            ", this program reads ", kStatsVersion));
  }
  if (vcpus == 0 || vcpus > kMaxVcpus)
    return absl::DataLossError(absl::StrCat("stats file ", path, ": ", vcpus, " vCPUs"));
  StatsOffsets offsets = OffsetsFor(vcpus);
  if (header.max_sites != kMaxSites || header.trace_capacity != kTraceCapacity ||
      header.sites_offset != offsets.sites || header.counters_offset != offsets.counters ||
      header.traces_offset != offsets.traces || size < offsets.size) {
    return absl::DataLossError(
        absl::StrCat("stats file ", path, ": offsets do not fit its version"));
  }
  reader->vcpus_ = vcpus;
  reader->tsc_frequency_ = std::max<uint64_t>(header.tsc_frequency, 1);
  reader->sites_offset_ = offsets.sites;
  reader->counters_offset_ = offsets.counters;
  reader->traces_offset_ = offsets.traces;
  return reader;
}

const SiteCounters& StatsReader::counters(uint32_t vcpu, uint32_t index) const {
  return At<SiteCounters>(counters_offset_)[static_cast<uint64_t>(vcpu) * kMaxSites + index];
}
const TraceRing& StatsReader::ring(uint32_t vcpu) const {
  return At<TraceRing>(traces_offset_)[vcpu];
}
uint32_t StatsReader::site_count() const {
  return std::min(header().site_count.load(std::memory_order_acquire), kMaxSites);
}

bool StatsReader::ReadSite(uint32_t index, SiteView* view) const {
  const SiteRecord& record = At<SiteRecord>(sites_offset_)[index];
  for (int i = 0; i < kTries; ++i) {
    uint32_t before = record.sequence.load(std::memory_order_acquire);
    if (before & 1) continue;
    view->index = index;
    view->gva = record.gva;
    view->gpa = record.gpa;
    view->cpl = record.cpl & 3;
    view->state = static_cast<SiteState>(
        std::min<uint8_t>(record.state, static_cast<uint8_t>(SiteState::kAmbiguous)));
    view->technique = static_cast<Technique>(
        std::min<uint8_t>(record.technique, static_cast<uint8_t>(Technique::kLinked)));
    view->reason = static_cast<Reason>(
        std::min<uint8_t>(record.reason, static_cast<uint8_t>(Reason::kJumpUnplanned)));
    view->transition_ns = record.transition_ns;
    std::copy(std::begin(record.original), std::end(record.original), view->original.begin());
    std::copy(std::begin(record.current), std::end(record.current), view->current.begin());
    view->symbol.assign(record.symbol, strnlen(record.symbol, kSymbolLength));
    uint8_t limit = record.limit_override;
    view->policy.reset();
    if (limit != 0 && limit <= static_cast<uint8_t>(Technique::kLinked)) {
      view->policy =
          Policy{static_cast<Technique>(limit), record.interrupt_after, record.linked_after};
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (record.sequence.load(std::memory_order_relaxed) == before) return true;
  }
  return false;
}

void StatsReader::AddCounters(uint32_t index, SiteView* view) const {
  uint64_t first = ~uint64_t{0}, last = 0;
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    const SiteCounters& c = counters(vcpu, index);
    for (size_t path = 0; path < kPathCount; ++path) {
      uint64_t calls = 0, timed = 0;
      for (const auto& of_number : c.calls[path]) calls += Get(of_number);
      for (size_t i = 0; i < kHistogramBuckets; ++i) {
        uint64_t bucket = Get(c.histogram[path][i]);
        view->histograms[path][i] += bucket;
        timed += bucket;
      }
      view->calls[path] += calls;
      if (timed != 0) view->cycles[path] += base::MultiplyDivide(Get(c.cycles[path]), calls, timed);
    }
    for (size_t i = 0; i < kNumbersPerSite; ++i) {
      uint64_t number = Get(c.number[i]), calls = 0;
      if (number == 0) continue;
      for (const auto& path : c.calls) calls += Get(path[i]);
      auto known = std::find_if(view->numbers.begin(), view->numbers.end(),
                                [&](const NumberCount& n) { return n.number == number - 1; });
      if (known != view->numbers.end()) {
        known->calls += calls;
      } else {
        view->numbers.push_back({number - 1, calls});
      }
    }
    if (uint64_t use = Get(c.first_use)) first = std::min(first, use);
    last = std::max(last, Get(c.last_use));
  }
  if (last != 0) {
    view->first_use_ns = base::MultiplyDivide(std::min(first, last), 1'000'000'000, tsc_frequency_);
    view->last_use_ns = base::MultiplyDivide(last, 1'000'000'000, tsc_frequency_);
  }
}

std::vector<SiteView> StatsReader::Sites() const {
  std::vector<SiteView> sites;
  uint32_t count = site_count();
  for (uint32_t i = 0; i < count; ++i) {
    SiteView view;
    if (!ReadSite(i, &view) || view.state == SiteState::kNone) continue;
    AddCounters(i, &view);
    sites.push_back(std::move(view));
  }
  return sites;
}

absl::StatusOr<SiteView> StatsReader::Site(uint32_t index) const {
  SiteView view;
  if (index >= site_count() || !ReadSite(index, &view))
    return absl::NotFoundError(absl::StrCat("no site ", index));
  AddCounters(index, &view);
  return view;
}

StatsReader::Cursor StatsReader::End() const {
  Cursor cursor;
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    cursor.read.push_back(ring(vcpu).head.load(std::memory_order_acquire));
    cursor.skipped.push_back(Get(ring(vcpu).skipped));
  }
  return cursor;
}

std::vector<TraceEvent> StatsReader::ReadTrace(Cursor* cursor, size_t limit,
                                               uint64_t* dropped) const {
  std::vector<TraceEvent> events;
  cursor->read.resize(vcpus_);
  cursor->skipped.resize(vcpus_);
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    const TraceRing& r = ring(vcpu);
    uint64_t& read = cursor->read[vcpu];
    uint64_t head = r.head.load(std::memory_order_acquire);
    if (read > head) read = head;  // nonsense, as it only grows
    uint64_t skipped = Get(r.skipped), known = std::exchange(cursor->skipped[vcpu], skipped);
    if (skipped > known) *dropped += skipped - known;
    if (head - read > kTraceCapacity) {
      *dropped += head - read - kTraceCapacity;
      read = head - kTraceCapacity;
    }
    for (; read < head && events.size() < limit; ++read) {
      const TraceRecord& record = r.records[read % kTraceCapacity];
      TraceEvent event;
      uint64_t sequence = record.sequence.load(std::memory_order_acquire);
      event.time_ns = base::MultiplyDivide(record.time, 1'000'000'000, tsc_frequency_);
      event.gva = record.gva;
      event.number = record.number;
      std::copy(std::begin(record.args), std::end(record.args), std::begin(event.args));
      event.result = record.result;
      event.vcpu = vcpu;
      event.site = record.site;
      event.cycles = record.cycles;
      event.path =
          static_cast<Path>(std::min<uint8_t>(record.path, static_cast<uint8_t>(Path::kLinked)));
      event.cpl = record.cpl & 3;
      std::atomic_thread_fence(std::memory_order_acquire);
      bool whole =
          sequence == read + 1 && record.sequence.load(std::memory_order_relaxed) == sequence;
      if (!whole) {
        ++*dropped;  // overwritten while we looked
        continue;
      }
      events.push_back(event);
    }
  }
  return events;
}

}  // namespace trapline::hypercall
