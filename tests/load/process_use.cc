// SPDX-License-Identifier: Apache-2.0
// Reads /proc.
#include "tests/load/process_use.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace trapline {

Use UseOf(pid_t pid) {
  Use use;
  const std::string process = "/proc/" + std::to_string(pid);
  std::ifstream status(process + "/status");
  for (std::string word; status >> word;) {
    if (word == "RssAnon:") status >> use.memory_kib;
    if (word == "Threads:") status >> use.threads;
  }
  use.descriptors = static_cast<size_t>(std::distance(
      std::filesystem::directory_iterator(process + "/fd"), std::filesystem::directory_iterator()));
  return use;
}

}  // namespace trapline
