// SPDX-License-Identifier: Apache-2.0
// Has a parser that is not ours read what we write.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace trapline::cli {

inline bool IsWellFormed(const std::string& parser, const std::string& xml) {
  const std::string path = testing::TempDir() + "/xml_" + std::to_string(getpid());
  std::ofstream(path) << xml;
  const int status = std::system((parser + " " + path + " >/dev/null 2>&1").c_str());
  std::remove(path.c_str());
  return status == 0;
}

// The command of one that is here and knows good from bad; empty where there is none.
inline std::string FindXmlParser() {
  for (const char* candidate : {"xmllint --noout", "python3 -m xml.dom.minidom"}) {
    if (IsWellFormed(candidate, "<a/>") && !IsWellFormed(candidate, "<a><b></a>")) return candidate;
  }
  return "";
}

}  // namespace trapline::cli
