// SPDX-License-Identifier: Apache-2.0
// The fixture of tests that talk to a real traplined.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/process.h"

namespace trapline::cli_test {

class WithDaemon : public ::testing::Test {
 protected:
  // A VM that stays, created and not started.
  void Create(const std::string& name, const std::string& guest,
              std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(),
                 {"vm", "create", name, "--kernel", Guest(guest), "--memory", "64M"});
    Well(flags);
  }
  // The same, running.
  void Start(const std::string& name, const std::string& guest,
             std::vector<std::string> flags = {}) {
    Create(name, guest, std::move(flags));
    Well({"vm", "start", name});
  }
  // What a command that must end well prints.
  std::string Well(const std::vector<std::string>& arguments) {
    const Result result = daemon_.Run(arguments);
    EXPECT_EQ(result.code, 0) << testing::PrintToString(arguments) << result.err;
    return result.out;
  }
  // The same as the API's message, of `-o json`.
  template <typename Message>
  Message Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    Message message;
    const std::string text = Well(arguments);
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, &message).ok()) << text;
    return message;
  }

  Daemon daemon_;
};

}  // namespace trapline::cli_test
