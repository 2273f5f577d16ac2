// SPDX-License-Identifier: Apache-2.0
// What a scrape brought, taken apart.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace trapline::metrics_test {

struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

// Of Prometheus' text format.
class Scrape {
 public:
  explicit Scrape(std::string text);

  const std::string& text() const { return text_; }
  // Those of that name whose labels include these.
  std::vector<Sample> Find(const std::string& name,
                           const std::map<std::string, std::string>& labels = {}) const;
  // The sum of those. A failure of the test where there are none.
  double Sum(const std::string& name, const std::map<std::string, std::string>& labels = {}) const;
  // Names of samples: a histogram's end with _bucket, _sum and _count.
  std::set<std::string> Names() const;
  // Those that must never fall: of counters and histograms, by name and labels.
  std::map<std::string, double> Rising() const;

 private:
  std::string text_;
  std::vector<Sample> samples_;
  std::set<std::string> rising_;  // names of samples
};

}  // namespace trapline::metrics_test
