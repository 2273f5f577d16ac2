// SPDX-License-Identifier: Apache-2.0
// How the files that a VM is made from are named to its worker, which opens them: by their paths,
// which are absolute; before a path that has been looked at stands kWithoutLinks.
#pragma once

namespace trapline::daemon {

// No link is followed to the file, wherever on the path it is: what is opened lies where the path
// says. Whoever may write there can put another file in its place, but none from elsewhere.
constexpr char kWithoutLinks[] = "nolinks:";

}  // namespace trapline::daemon
