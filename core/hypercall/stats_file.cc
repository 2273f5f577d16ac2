// SPDX-License-Identifier: Apache-2.0
// Makes and maps the stats file.
#include "core/hypercall/stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/cycles.h"

namespace trapline::hypercall {
namespace {

constexpr uint64_t kPage = 4096;
// Sites whose place is reserved at a time: about as many as there are already. All vCPUs stand
// still meanwhile, and file systems take the longer the more pieces they are asked for.
constexpr uint32_t kFewestAhead = 4, kMostAhead = 512, kTransitionsAhead = 100;

uint64_t Aligned(uint64_t value) { return (value + kPage - 1) / kPage * kPage; }

absl::Status Failed(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat(what, " the stats file ", path, ": ", strerror(errno)));
}

uint64_t RealtimeNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

StatsOffsets OffsetsFor(uint32_t vcpus) {
  StatsOffsets o;
  o.sites = kPage;
  o.transitions = Aligned(o.sites + uint64_t{kMaxSites} * sizeof(SiteRecord));
  o.counters = Aligned(o.transitions + uint64_t{kTransitionCapacity} * sizeof(TransitionRecord));
  o.logs = Aligned(o.counters + uint64_t{vcpus} * kMaxSites * sizeof(SiteCounters));
  o.rings = Aligned(o.logs + uint64_t{vcpus} * sizeof(CallLog));
  o.size = Aligned(o.rings + uint64_t{vcpus} * sizeof(TraceRing));
  return o;
}

absl::StatusOr<std::unique_ptr<StatsFile>> StatsFile::Create(const std::string& path,
                                                             uint32_t vcpus) {
  auto file = std::unique_ptr<StatsFile>(new StatsFile);
  file->path_ = path;
  if (!path.empty()) unlink(path.c_str());
  file->fd_ = base::UniqueFd(path.empty()
                                 ? memfd_create("stats", MFD_CLOEXEC)
                                 : open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!file->fd_.valid()) return Failed("making", path);
  StatsOffsets offsets = OffsetsFor(vcpus);
  if (ftruncate(file->fd_.get(), static_cast<off_t>(offsets.size)) != 0)
    return Failed("sizing", path);
  auto mapped =
      base::MappedFile::Map(file->fd_.get(), offsets.size, base::MappedFile::Mode::kReadWrite);
  if (!mapped.ok()) {
    return absl::Status(mapped.status().code(),
                        absl::StrCat("mapping the stats file ", path, ", ", offsets.size,
                                     " bytes of address space: ", mapped.status().message()));
  }
  file->file_ = *std::move(mapped);
  std::byte* base = file->file_->data();
  file->sites_ = reinterpret_cast<SiteRecord*>(base + offsets.sites);
  file->transitions_ = reinterpret_cast<TransitionRecord*>(base + offsets.transitions);
  file->counters_ = reinterpret_cast<SiteCounters*>(base + offsets.counters);
  file->logs_ = reinterpret_cast<CallLog*>(base + offsets.logs);
  file->rings_ = reinterpret_cast<TraceRing*>(base + offsets.rings);
  if (auto status = file->Reserve(base, sizeof(StatsHeader)); !status.ok()) return status;
  if (auto status = file->Reserve(file->logs_, vcpus * sizeof(CallLog)); !status.ok())
    return status;

  StatsHeader& header = file->header();
  header.version = kStatsVersion;
  header.vcpus = vcpus;
  header.max_sites = kMaxSites;
  header.transition_capacity = kTransitionCapacity;
  header.sites_offset = offsets.sites;
  header.transitions_offset = offsets.transitions;
  header.counters_offset = offsets.counters;
  header.logs_offset = offsets.logs;
  header.rings_offset = offsets.rings;
  header.file_size = offsets.size;
  header.start_realtime_ns = RealtimeNanoseconds();
  header.tsc_frequency = base::HostCyclesPerSecond();
  header.magic = kStatsMagic;
  return file;
}

absl::Status StatsFile::Reserve(const void* start, uint64_t size) {
  auto offset = static_cast<const std::byte*>(start) - file_->data();
  if (fallocate(fd_.get(), 0, offset, static_cast<off_t>(size)) == 0 || errno == EOPNOTSUPP)
    return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("no room in the stats file ", path_, " for ",
                                                   size, " bytes: ", strerror(errno)));
}

absl::Status StatsFile::ReserveSite(uint32_t index) {
  if (index < reserved_sites_) return absl::OkStatus();
  uint32_t ahead = std::clamp(index, kFewestAhead, kMostAhead);
  if (ReserveSites(std::min(index + ahead, kMaxSites)).ok()) return absl::OkStatus();
  // There may be room for this one.
  return ReserveSites(index + 1);
}

absl::Status StatsFile::ReserveSites(uint32_t end) {
  uint32_t first = reserved_sites_, count = end - first;
  absl::Status status = Reserve(&site(first), count * sizeof(SiteRecord));
  for (uint32_t vcpu = 0; vcpu < header().vcpus && status.ok(); ++vcpu)
    status = Reserve(&counters(vcpu, first), count * sizeof(SiteCounters));
  if (status.ok()) reserved_sites_ = end;
  return status;
}

absl::Status StatsFile::ReserveTransition(uint32_t place) {
  uint32_t room = header().transition_room.load(std::memory_order_relaxed);
  if (place < room) return absl::OkStatus();
  uint32_t end = std::min(place + kTransitionsAhead, kTransitionCapacity);
  absl::Status status = Reserve(&transition(room), (end - room) * sizeof(TransitionRecord));
  if (status.ok()) header().transition_room.store(end, std::memory_order_release);
  return status;
}

absl::Status StatsFile::ReserveRings() {
  return Reserve(rings_, header().vcpus * sizeof(TraceRing));
}

}  // namespace trapline::hypercall
