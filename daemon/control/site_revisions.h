// SPDX-License-Identifier: Apache-2.0
// In which revision each site of a VM last changed, in a file that outlives the daemon.
//
// The file is mapped, so what is stored in it is there for the next daemon however this one ends:
// one that ends in the middle of a look may leave sites marked with the revision that was to come,
// which is why the next one begins with it. It belongs to one stats file; with another, or after
// the machine was started anew, it begins again, with another life.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/mapped_file.h"
#include "core/base/unique_fd.h"
#include "core/hypercall/stats_reader.h"

namespace trapline::daemon {

// Not thread-safe.
class SiteRevisions {
 public:
  // stats_made: when the stats file was, to the nanosecond. Where the file cannot be had, or has no
  // room, revisions are kept in memory, for this daemon alone. Errors: there is no memory either.
  static absl::StatusOr<std::unique_ptr<SiteRevisions>> Open(const std::string& path,
                                                             uint64_t stats_made);

  uint64_t life() const;      // a random number
  uint64_t revision() const;  // of the newest look that found something changed; zero: none yet
  // What a look found, by site; sites only become more.
  absl::Status Take(const std::vector<hypercall::SiteActivity>& now);
  // Sites that changed behind that revision.
  std::vector<uint32_t> ChangedSince(uint64_t revision) const;

 private:
  struct Header;
  struct Entry;
  struct Identity {
    uint64_t boot[2], made;
    bool operator==(const Identity&) const = default;
  };
  explicit SiteRevisions(const std::string& path) : path_(path) {}
  absl::Status OpenFile();
  absl::Status MoveToMemory();
  absl::Status Map(base::UniqueFd fd);
  absl::Status Reserve(uint32_t sites);
  Header& header() const;
  Entry* entries() const;

  const std::string path_;
  base::UniqueFd fd_;
  std::unique_ptr<base::MappedFile> file_;
  uint32_t reserved_ = 0;
};

}  // namespace trapline::daemon
