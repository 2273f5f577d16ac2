// SPDX-License-Identifier: Apache-2.0
// A directory of a test's own.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace trapline::daemon {

class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/trapline-control-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace trapline::daemon
