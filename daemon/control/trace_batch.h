// SPDX-License-Identifier: Apache-2.0
// What a trace stream sends: filtered calls in either encoding, and what is known of their sites.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/hypercall/stats_reader.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::daemon {

// Addresses and symbols of the sites that a stream has met.
class TracedSites {
 public:
  struct Site {
    uint64_t gpa = 0, gva = 0;
    std::string symbol;
    bool told = false;  // the client knows it as it is here
  };

  Site& Get(const hypercall::StatsReader& stats, uint32_t index);
  // Looks again for symbols that were missing.
  void Refresh(const hypercall::StatsReader& stats);
  bool unnamed() const { return unnamed_; }  // some are missing
  bool fresh() const { return fresh_; }      // some of sites met since TakeFresh
  bool TakeFresh() { return std::exchange(fresh_, false); }
  void Clear();

 private:
  std::unordered_map<uint32_t, Site> sites_;
  bool unnamed_ = false, fresh_ = false;
};

bool Matches(const v1::TraceFilter& filter, const hypercall::TraceEvent& event, uint64_t gpa);

// Appends the calls to the response.
void AddRecords(const std::string& vm, const hypercall::StatsReader& stats,
                const std::vector<hypercall::TraceEvent>& events, TracedSites& sites,
                v1::StreamHypercallsResponse* response);
void AddPacked(const std::string& vm, const hypercall::StatsReader& stats,
               const std::vector<hypercall::TraceEvent>& events, TracedSites& sites,
               v1::StreamHypercallsResponse* response);

}  // namespace trapline::daemon
