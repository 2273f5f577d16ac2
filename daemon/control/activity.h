// SPDX-License-Identifier: Apache-2.0
// What the daemon counts of its own doings, since its start.
#pragma once

#include <atomic>
#include <cstdint>

namespace trapline::daemon {

struct Activity {
  using Count = std::atomic<uint64_t>;

  Count workers_started{0}, workers_not_started{0}, workers_adopted{0}, workers_lost{0};
  // Of all trace streams: records sent, and lost to their clients.
  Count trace_records{0}, trace_dropped{0};
  // What clients were too slow for: events, looks at sites, bytes of consoles.
  Count events_missed{0}, site_updates_missed{0}, console_bytes_missed{0};
};

}  // namespace trapline::daemon
