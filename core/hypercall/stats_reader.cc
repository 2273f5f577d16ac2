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

// What is read from a file is of no type until it is known to be in its range.
template <typename Enum>
Enum Bounded(uint8_t value, Enum last) {
  return static_cast<Enum>(std::min(value, static_cast<uint8_t>(last)));
}
constexpr SiteState kLastState = SiteState::kAmbiguous;
constexpr Reason kLastReason = Reason::kJumpUnplanned;

// By how much a is more.
uint64_t Less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

uint64_t CallsOf(const SiteCounters& counters, size_t path) {
  uint64_t calls = 0;
  for (const auto& of_number : counters.calls[path]) calls += Get(of_number);
  return calls;
}

// Of all calls, taken from those that were timed.
uint64_t CyclesOf(const SiteCounters& counters, size_t path, uint64_t calls) {
  uint64_t timed = Get(counters.timed[path]);
  return timed == 0 ? 0 : base::MultiplyDivide(Get(counters.cycles[path]), calls, timed);
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
  if (header.max_sites != kMaxSites || header.transition_capacity != kTransitionCapacity ||
      header.sites_offset != offsets.sites || header.transitions_offset != offsets.transitions ||
      header.counters_offset != offsets.counters || header.logs_offset != offsets.logs ||
      header.rings_offset != offsets.rings || size < offsets.size) {
    return absl::DataLossError(
        absl::StrCat("stats file ", path, ": offsets do not fit its version"));
  }
  reader->vcpus_ = vcpus;
  reader->tsc_frequency_ = std::max<uint64_t>(header.tsc_frequency, 1);
  reader->sites_offset_ = offsets.sites;
  reader->transitions_offset_ = offsets.transitions;
  reader->counters_offset_ = offsets.counters;
  reader->logs_offset_ = offsets.logs;
  reader->rings_offset_ = offsets.rings;
  return reader;
}

const SiteCounters& StatsReader::counters(uint32_t vcpu, uint32_t index) const {
  return At<SiteCounters>(counters_offset_)[static_cast<uint64_t>(vcpu) * kMaxSites + index];
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
    view->state = Bounded(record.state, kLastState);
    view->technique = Bounded(record.technique, Technique::kLinked);
    view->reason = Bounded(record.reason, kLastReason);
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
      uint64_t calls = CallsOf(c, path);
      view->calls[path] += calls;
      view->cycles[path] += CyclesOf(c, path, calls);
      for (size_t i = 0; i < kHistogramBuckets; ++i)
        view->histograms[path][i] += Get(c.histogram[path][i]);
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

absl::StatusOr<SiteView> StatsReader::Record(uint32_t index) const {
  SiteView view;
  if (index >= site_count() || !ReadSite(index, &view) || view.state == SiteState::kNone)
    return absl::NotFoundError(absl::StrCat("no site ", index));
  return view;
}

absl::StatusOr<SiteView> StatsReader::Site(uint32_t index) const {
  auto view = Record(index);
  if (view.ok()) AddCounters(index, &*view);
  return view;
}

std::vector<SiteKey> StatsReader::Keys() const {
  std::vector<SiteKey> keys;
  uint32_t count = site_count();
  keys.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const SiteRecord& record = At<SiteRecord>(sites_offset_)[i];
    SiteState state = Bounded(record.state, kLastState);
    if (state != SiteState::kNone) keys.push_back({record.gpa, i, state});
  }
  return keys;
}

SiteSums StatsReader::Survey(std::vector<SiteActivity>* activity) const {
  SiteSums sums;
  uint32_t count = site_count();
  if (activity) activity->assign(count, {});
  for (uint32_t i = 0; i < count; ++i) {
    const SiteRecord& record = At<SiteRecord>(sites_offset_)[i];
    SiteState state = Bounded(record.state, kLastState);
    if (state == SiteState::kNone) continue;
    ++sums.sites;
    ++sums.by_state[static_cast<size_t>(state)];
    uint64_t all = 0;
    for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
      const SiteCounters& c = counters(vcpu, i);
      for (size_t path = 0; path < kPathCount; ++path) {
        uint64_t calls = CallsOf(c, path);
        sums.calls[path] += calls;
        sums.cycles[path] += CyclesOf(c, path, calls);
        all += calls;
      }
    }
    if (activity) (*activity)[i] = {record.sequence.load(std::memory_order_acquire), all};
  }
  sums.transitions = Get(header().transitions);
  sums.patches = Get(header().patches);
  sums.reverts = Get(header().reverts);
  return sums;
}

// ---- Transitions ----

std::vector<SiteTransition> StatsReader::Transitions(uint64_t after, size_t limit,
                                                     uint64_t* lost) const {
  std::vector<SiteTransition> transitions;
  uint64_t ever = header().transitions.load(std::memory_order_acquire);
  uint32_t room =
      std::min(header().transition_room.load(std::memory_order_acquire), kTransitionCapacity);
  uint64_t first = ever > kTransitionCapacity ? ever - kTransitionCapacity : 0;
  *lost = first;
  for (uint64_t at = std::max(first, after); at < ever && transitions.size() < limit; ++at) {
    // Behind the room there is nothing: it was not to be had.
    if (at % kTransitionCapacity >= room) continue;
    const TransitionRecord& record =
        At<TransitionRecord>(transitions_offset_)[at % kTransitionCapacity];
    SiteTransition transition{.sequence = record.sequence.load(std::memory_order_acquire),
                              .time_ns = record.time_ns,
                              .site = record.site,
                              .vcpu = record.vcpu,
                              .from = Bounded(record.from, kLastState),
                              .to = Bounded(record.to, kLastState),
                              .reason = Bounded(record.reason, kLastReason),
                              .policy = {Bounded(record.limit, Technique::kLinked),
                                         record.interrupt_after, record.linked_after}};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (transition.sequence == at + 1 && record.sequence.load(std::memory_order_relaxed) == at + 1)
      transitions.push_back(transition);
  }
  return transitions;
}

// ---- Calls ----

bool StatsReader::ReadCall(const TraceRecord& record, uint64_t position, TraceEvent* event) const {
  uint64_t sequence = record.sequence.load(std::memory_order_acquire);
  event->time_ns = base::MultiplyDivide(record.time, 1'000'000'000, tsc_frequency_);
  event->gva = record.gva;
  event->number = record.number;
  std::copy(std::begin(record.args), std::end(record.args), std::begin(event->args));
  event->result = record.result;
  event->site = std::min(record.site, kMaxSites - 1);
  event->cycles = record.cycles;
  event->path = Bounded(record.path, Path::kLinked);
  event->cpl = record.cpl & 3;
  std::atomic_thread_fence(std::memory_order_acquire);
  return sequence == position + 1 && record.sequence.load(std::memory_order_relaxed) == sequence;
}

uint64_t StatsReader::CallsEver() const {
  uint64_t calls = 0;
  uint32_t count = site_count();
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    calls += Get(log(vcpu).forgotten);
    for (uint32_t i = 0; i < count; ++i) {
      for (size_t path = 0; path < kPathCount; ++path) calls += CallsOf(counters(vcpu, i), path);
    }
  }
  return calls;
}

StatsReader::Cursor StatsReader::End() const {
  Cursor cursor;
  uint64_t traced = 0;
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    cursor.read.push_back(log(vcpu).traced.load(std::memory_order_acquire));
    traced += log(vcpu).begun.load(std::memory_order_acquire);
  }
  cursor.unrecorded = Less(CallsEver(), traced);
  return cursor;
}

uint64_t StatsReader::Dropped(const Cursor& cursor) const {
  // In this order, lest a call that is being recorded count as one that is not.
  uint64_t calls = CallsEver(), traced = 0;
  std::atomic_thread_fence(std::memory_order_acquire);
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) traced += Get(log(vcpu).begun);
  return cursor.overwritten + Less(Less(calls, traced), cursor.unrecorded);
}

std::vector<TraceEvent> StatsReader::ReadTrace(Cursor* cursor, size_t limit) const {
  std::vector<TraceEvent> events;
  cursor->read.resize(vcpus_);
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    uint64_t& read = cursor->read[vcpu];
    uint64_t head = log(vcpu).traced.load(std::memory_order_acquire);
    if (read > head) read = head;  // nonsense, as it only grows
    if (head - read > kTraceCapacity) {
      cursor->overwritten += head - read - kTraceCapacity;
      read = head - kTraceCapacity;
    }
    for (; read < head && events.size() < limit; ++read) {
      TraceEvent event{.vcpu = vcpu};
      if (ReadCall(ring(vcpu).records[read % kTraceCapacity], read, &event)) {
        events.push_back(event);
      } else {
        ++cursor->overwritten;  // while we looked
      }
    }
  }
  return events;
}

template <uint32_t kCapacity>
void StatsReader::ReadNewest(uint32_t vcpu, uint64_t written,
                             const TraceRecord (&records)[kCapacity], size_t limit,
                             std::vector<TraceEvent>* events) const {
  uint64_t count = std::min({written, uint64_t{kCapacity}, uint64_t{limit}});
  for (uint64_t at = written - count; at < written; ++at) {
    TraceEvent event{.vcpu = vcpu};
    if (ReadCall(records[at % kCapacity], at, &event)) events->push_back(event);
  }
}

std::vector<TraceEvent> StatsReader::OnRecord(size_t limit) const {
  std::vector<TraceEvent> events;
  for (uint32_t vcpu = 0; vcpu < vcpus_; ++vcpu) {
    ReadNewest(vcpu, log(vcpu).traced.load(std::memory_order_acquire), ring(vcpu).records, limit,
               &events);
    ReadNewest(vcpu, log(vcpu).kept.load(std::memory_order_acquire), log(vcpu).recent, limit,
               &events);
  }
  std::stable_sort(events.begin(), events.end(),
                   [](const TraceEvent& a, const TraceEvent& b) { return a.time_ns < b.time_ns; });
  if (events.size() > limit) events.erase(events.begin(), events.end() - static_cast<long>(limit));
  return events;
}

}  // namespace trapline::hypercall
