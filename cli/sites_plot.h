// SPDX-License-Identifier: Apache-2.0
// A VM's sites over time, as a picture.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

// Calls made up to a moment, by how they came in.
struct CallCounts {
  uint64_t traps = 0, interrupt = 0, linked = 0;
};

struct SitesRecording {
  struct Sample {
    double seconds = 0;  // since the recording began
    CallCounts calls;
  };
  // A site that was rewritten or put back.
  struct Mark {
    double seconds = 0;
    bool revert = false;
    std::string what;
  };
  std::string vm;      // "debian"
  std::string engine;  // "direct"
  std::vector<Sample> samples;
  std::vector<Mark> marks;
  std::vector<v1::Site> sites;  // as they were at the end
};

// Follows a watch of sites.
class SitesRecorder {
 public:
  // What the watch said, that long after the recording began. A sample is taken where the response
  // ends a revision.
  void Take(const v1::WatchSitesResponse& response, double seconds);
  const std::vector<SitesRecording::Sample>& samples() const { return samples_; }
  std::vector<v1::Site> sites() const;

 private:
  std::map<uint64_t, v1::Site> known_;
  std::vector<SitesRecording::Sample> samples_;
};

// The transitions as marks, `began` being the second from which they count; those before it, and
// those that rewrite nothing, make none.
std::vector<SitesRecording::Mark> MarksOf(const std::vector<v1::SiteTransition>& transitions,
                                          absl::Time began);

// A standalone SVG document of two panels: calls a second by technique, with the marks on the time
// axis; and for the busiest sites that were rewritten, what a call cost by each way it came in.
// Light or dark as the reader's screen is. What is in the recording may be anything.
std::string RenderSitesPlot(const SitesRecording& recording);

}  // namespace trapline::cli
