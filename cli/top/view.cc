// SPDX-License-Identifier: Apache-2.0
// What the person at the terminal has chosen to see, and what a key does to it.
#include "cli/top/view.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace trapline::cli::top {
namespace {

constexpr size_t kMaxFilter = 64;

Request TypeFilter(View& view, const KeyPress& press) {
  std::string& filter = view.listing.filter;
  switch (press.key) {
    case Key::kCharacter:
      if (filter.size() < kMaxFilter) filter.push_back(press.character);
      break;
    case Key::kBackspace:
      if (!filter.empty()) filter.pop_back();
      break;
    case Key::kEscape:
      filter = view.filter_before;
      view.typing = false;
      break;
    case Key::kEnter:
      view.typing = false;
      break;
    default:
      break;
  }
  view.listing.first = 0;
  return {};
}

// The key's direction in lines; 0 for those that do not move.
int64_t Lines(const KeyPress& press, size_t page) {
  const auto whole = static_cast<int64_t>(std::max<size_t>(1, page));
  switch (press.key) {
    case Key::kUp:
      return -1;
    case Key::kDown:
      return 1;
    case Key::kPageUp:
      return -whole;
    case Key::kPageDown:
      return whole;
    case Key::kCharacter:
      return press.character == 'j' ? 1 : press.character == 'k' ? -1 : 0;
    default:
      return 0;
  }
}

size_t Moved(size_t from, int64_t lines) {
  return static_cast<size_t>(std::max<int64_t>(0, static_cast<int64_t>(from) + lines));
}

void SortBeside(View& view, int step) {
  const int next = (static_cast<int>(view.listing.sort) + step + kSortColumns) % kSortColumns;
  view.listing.sort = static_cast<SortBy>(next);
  view.Say(absl::StrCat("sorted by ", SortName(view.listing.sort)));
}

void HoldPlace(View& view, const Model& model, size_t place) {
  if (const TrackedSite* site = SiteAt(model, view.listing, place))
    view.listing.held = model.KeyOf(*site);
}

bool MoveInList(View& view, const KeyPress& press, const Model& model) {
  if (press.key == Key::kHome) {
    view.listing.held.reset();
    view.listing.first = 0;
    return true;
  }
  if (press.key == Key::kEnd) {
    HoldPlace(view, model, SIZE_MAX);
    return true;
  }
  const int64_t lines = Lines(press, view.page);
  if (lines == 0) return false;
  Listing now = view.listing;
  HoldPlace(view, model, Moved(Arrange(model, now, 0).cursor, lines));
  return true;
}

bool MoveInSite(View& view, const KeyPress& press) {
  if (press.key == Key::kHome) {
    view.scroll = 0;
  } else if (press.key == Key::kEnd) {
    view.scroll = view.lines;
  } else if (press.key == Key::kTab) {
    const auto next = std::upper_bound(view.sections.begin(), view.sections.end(), view.scroll);
    const bool at_end = next == view.sections.end() || view.scroll + view.page >= view.lines;
    view.scroll = at_end ? 0 : *next;
  } else if (const int64_t lines = Lines(press, view.page); lines != 0) {
    view.scroll = Moved(view.scroll, lines);
  } else {
    return false;
  }
  return true;
}

// What is done to a site, in the list and on its page alike.
Request::Kind ActionOf(char character) {
  switch (character) {
    case 'p':
      return Request::Kind::kPin;
    case 'P':
      return Request::Kind::kPatch;
    case 'u':
      return Request::Kind::kInherit;
    case 'v':
      return Request::Kind::kRevert;
    default:
      return Request::Kind::kNone;
  }
}

Request About(const View& view, Request::Kind kind) { return {kind, view.site}; }

// The site at the cursor, which is held from now on: what is asked for is about that one.
Request AtCursor(View& view, const Model& model, Request::Kind kind) {
  if (!view.listing.held) HoldPlace(view, model, 0);
  if (!view.listing.held || model.Find(*view.listing.held) == nullptr) {
    view.Say("there is no site to do that to", true);
    return {};
  }
  return {kind, *view.listing.held};
}

Request PressInSite(View& view, const KeyPress& press) {
  if (MoveInSite(view, press)) return {};
  if (press.key == Key::kEscape || press.key == Key::kBackspace || press.key == Key::kEnter) {
    view.site_open = false;
    return About(view, Request::Kind::kClose);
  }
  if (press.key != Key::kCharacter) return {};
  if (press.character == 't') return About(view, Request::Kind::kTrace);
  const Request::Kind action = ActionOf(press.character);
  return action == Request::Kind::kNone ? Request() : About(view, action);
}

Request PressInList(View& view, const KeyPress& press, const Model& model) {
  if (MoveInList(view, press, model)) return {};
  if (press.key == Key::kEnter) {
    const Request open = AtCursor(view, model, Request::Kind::kOpen);
    if (open.kind == Request::Kind::kNone) return {};
    view.site_open = true;
    view.site = open.site;
    view.scroll = 0;
    return open;
  }
  if (press.key == Key::kEscape && !view.listing.filter.empty()) view.listing.filter.clear();
  if (press.key != Key::kCharacter) return {};
  switch (press.character) {
    case 's':
    case '>':
      SortBeside(view, 1);
      return {};
    case '<':
      SortBeside(view, -1);
      return {};
    case 'r':
      view.listing.reverse = !view.listing.reverse;
      return {};
    case '/':
      view.typing = true;
      view.filter_before = view.listing.filter;
      return {};
    default:
      const Request::Kind action = ActionOf(press.character);
      return action == Request::Kind::kNone ? Request() : AtCursor(view, model, action);
  }
}

}  // namespace

Request Press(View& view, const KeyPress& press, const Model& model) {
  if (press.key == Key::kNone) return {};
  view.Say("");
  if (view.typing) return TypeFilter(view, press);
  if (view.help) {
    view.help = false;
    return {};
  }
  if (press.key == Key::kCharacter) {
    switch (press.character) {
      case 'q':
        return {Request::Kind::kQuit, {}};
      case '?':
      case 'h':
        view.help = true;
        return {};
      case ' ':
        view.paused = !view.paused;
        return {Request::Kind::kPause, {}};
      default:
        break;
    }
  }
  return view.site_open ? PressInSite(view, press) : PressInList(view, press, model);
}

}  // namespace trapline::cli::top
