// SPDX-License-Identifier: Apache-2.0
// A stats file with damage all over: the input is a list of places and bytes to put there.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>

#include "core/hypercall/stats_file.h"
#include "core/hypercall/stats_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline::hypercall;
  static const std::string& path =
      *new std::string("/dev/shm/trapline-stats-fuzz-" + std::to_string(getpid()));
  auto file = StatsFile::Create(path, 1);
  if (!file.ok()) std::abort();
  auto* base = reinterpret_cast<uint8_t*>(&(*file)->header());
  StatsOffsets offsets = OffsetsFor(1);
  const uint64_t parts[] = {
      0, offsets.sites, offsets.transitions, offsets.counters, offsets.logs, offsets.rings};
  // Four bytes each: part, place in it, value.
  for (size_t i = 0; i + 4 <= size; i += 4) {
    uint64_t place = data[i + 1] | data[i + 2] << 8;
    base[parts[data[i] % std::size(parts)] + place % 4096] = data[i + 3];
  }
  auto reader = StatsReader::Open(path);
  unlink(path.c_str());
  if (!reader.ok()) {
    if (reader.status().message().empty()) std::abort();
    return 0;
  }
  for (const SiteView& site : (*reader)->Sites()) {
    if (site.symbol.size() > kSymbolLength || site.cpl > 3) std::abort();
  }
  StatsReader::Cursor cursor;
  for (const TraceEvent& event : (*reader)->ReadTrace(&cursor, 1000)) {
    if (event.path > Path::kLinked) std::abort();
  }
  (*reader)->Dropped(cursor);
  if ((*reader)->OnRecord(100).size() > 100) std::abort();
  uint64_t lost = 0;
  for (const SiteTransition& transition : (*reader)->Transitions(0, 1000, &lost)) {
    if (transition.to > SiteState::kAmbiguous) std::abort();
  }
  (*reader)->Survey(nullptr);
  return 0;
}
