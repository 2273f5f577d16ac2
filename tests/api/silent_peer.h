// SPDX-License-Identifier: Apache-2.0
// A client whose machine is gone, as a server sees it: it has asked for a stream, and answers
// nothing any more, not even the pings that gRPC's own client answers by itself.
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace trapline::daemon {

class SilentPeer {
 public:
  // Connects to the Unix socket and calls a method with an empty request.
  SilentPeer(const std::string& socket, const std::string& path);

  // Waits for the header of the stream; false where the server hangs up before.
  bool AwaitAnswer();
  // Waits for the server to hang up; false where it does not for a minute.
  bool AwaitEnd();

 private:
  // What the server says next; empty where it hangs up, or says nothing for a minute.
  std::string Receive();

  base::UniqueFd fd_;
  bool ended_ = false;
};

}  // namespace trapline::daemon
