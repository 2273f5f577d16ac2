// SPDX-License-Identifier: Apache-2.0
// A file system with next to nothing in it.
#pragma once

#include <string>

#include "daemon/vmm/confinement/measure.h"

namespace trapline::daemon {

// Makes the root of this process one that has the directory (an absolute path, which stays what it
// is) and what Linux tells of this process's threads (/proc/self/task), and nothing else. In a
// mount namespace of this process's own, with the right to mount there. Where that fails the
// process sees what it saw.
Measure EnterPrivateRoot(const std::string& directory);

}  // namespace trapline::daemon
