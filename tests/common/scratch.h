// SPDX-License-Identifier: Apache-2.0
// A directory of a test's own, as long as the object lives.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace trapline {

class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/trapline-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace trapline
