// SPDX-License-Identifier: Apache-2.0
// What the person at the terminal has chosen to see, and what a key does to it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/top/listing.h"
#include "cli/top/model.h"

namespace trapline::cli::top {

enum class Key {
  kNone,
  kCharacter,
  kUp,
  kDown,
  kPageUp,
  kPageDown,
  kHome,
  kEnd,
  kEnter,
  kEscape,
  kBackspace,
  kTab,
};

struct KeyPress {
  Key key = Key::kNone;
  char character = 0;  // of kCharacter: printable ASCII
};

// What a key asks for beyond the view itself.
struct Request {
  enum class Kind { kNone, kQuit, kPause, kOpen, kClose, kTrace, kPin, kPatch, kInherit, kRevert };
  Kind kind = Kind::kNone;
  SiteKey site;  // of all from kOpen on
};

struct View {
  std::string vm;  // the one that is watched; empty: all
  Listing listing;
  size_t most_rows = 0;  // of the list; 0: as many as there is room for
  bool paused = false;
  bool help = false;
  bool typing = false;        // the filter
  std::string filter_before;  // Esc while typing brings it back

  bool site_open = false;
  SiteKey site;
  size_t scroll = 0;  // first line of the site's page

  std::string status;
  bool status_bad = false;

  // Of the latest drawing: lines that scroll at once, those of the site's page, and where its
  // sections begin.
  size_t page = 1;
  size_t lines = 0;
  std::vector<size_t> sections;

  void Say(absl::string_view text, bool bad = false) {
    status = std::string(text);
    status_bad = bad;
  }
};

Request Press(View& view, const KeyPress& press, const Model& model);

}  // namespace trapline::cli::top
