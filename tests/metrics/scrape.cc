// SPDX-License-Identifier: Apache-2.0
// Reads the text format as far as our own values go: no escapes, no timestamps.
#include "tests/metrics/scrape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace trapline::metrics_test {
namespace {

// name{label="value",...} value
Sample ParseSample(const std::string& line) {
  Sample sample;
  size_t space = line.rfind(' '), brace = line.find('{');
  sample.name = line.substr(0, std::min(space, brace));
  sample.value = std::strtod(line.c_str() + space, nullptr);
  for (size_t at = brace; at < space && line[at] != '}';) {
    size_t equals = line.find("=\"", at), end = line.find('"', equals + 2);
    sample.labels[line.substr(at + 1, equals - at - 1)] = line.substr(equals + 2, end - equals - 2);
    at = end + 1;
  }
  return sample;
}

}  // namespace

Scrape::Scrape(std::string text) : text_(std::move(text)) {
  std::istringstream lines(text_);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, type, name, kind;
    if (line.empty()) continue;
    if (line[0] != '#') {
      samples_.push_back(ParseSample(line));
    } else if (words >> hash >> type >> name >> kind && type == "TYPE") {
      if (kind == "counter") rising_.insert(name);
      if (kind == "histogram") rising_.insert({name + "_bucket", name + "_sum", name + "_count"});
    }
  }
}

std::vector<Sample> Scrape::Find(const std::string& name,
                                 const std::map<std::string, std::string>& labels) const {
  std::vector<Sample> found;
  for (const Sample& sample : samples_) {
    bool all = std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
      auto has = sample.labels.find(label.first);
      return has != sample.labels.end() && has->second == label.second;
    });
    if (sample.name == name && all) found.push_back(sample);
  }
  return found;
}

double Scrape::Sum(const std::string& name,
                   const std::map<std::string, std::string>& labels) const {
  std::vector<Sample> found = Find(name, labels);
  EXPECT_FALSE(found.empty()) << name << " of " << ::testing::PrintToString(labels);
  double sum = 0;
  for (const Sample& sample : found) sum += sample.value;
  return sum;
}

std::set<std::string> Scrape::Names() const {
  std::set<std::string> names;
  for (const Sample& sample : samples_) names.insert(sample.name);
  return names;
}

std::map<std::string, double> Scrape::Rising() const {
  std::map<std::string, double> values;
  for (const Sample& sample : samples_) {
    if (rising_.count(sample.name) != 0)
      values[sample.name + ::testing::PrintToString(sample.labels)] = sample.value;
  }
  return values;
}

}  // namespace trapline::metrics_test
