// SPDX-License-Identifier: Apache-2.0
// What was ever counted of hypercalls, in sums that never go down.
//
// A stats file's counters do: they are zeroed on request, they begin anew with the next worker, and
// they go with their VM. Here the growth between two looks at a file is added up, for its VM and
// for all, and a look is taken before anything that would lose counts: ahead of a reset, when
// another file takes over, when the VM goes. A mapping outlives its file's name, so that nothing is
// lost even where the file is gone already.
//
// Figures begin with the daemon: what a worker that it found running had counted before is not in
// them, or the sum over all VMs would rise by the past of those that are left.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/hypercall/stats_reader.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

// Sums that only grow, indexed by hypercall::Path where they are arrays.
struct CallSums {
  std::array<uint64_t, hypercall::kPathCount> calls{}, cycles{};
  uint64_t patches = 0, reverts = 0;

  // Saturates, as what a worker wrote may be nonsense.
  void Add(const CallSums& more);
  // What was counted since `before`. A counter that is lower began anew in between; cycles are an
  // estimate, which may also be corrected downwards, and then nothing was added.
  CallSums Since(const CallSums& before) const;
};

using SitesByState = std::array<uint64_t, hypercall::kSiteStates>;

// What a stats file holds at this moment.
struct CallFigures {
  CallSums sums;
  SitesByState sites{};
};
CallFigures ReadFigures(const hypercall::StatsReader& stats);

class CallTally;

// One VM's part of a tally. Thread-safe.
class VmTally {
 public:
  VmTally(std::shared_ptr<CallTally> tally, std::string vm)
      : tally_(std::move(tally)), vm_(std::move(vm)) {}

  using Stats = std::shared_ptr<const hypercall::StatsReader>;

  // Counts what is written to that file from now on, with (`anew`) or without what is in it
  // already. Null, as of one that cannot be read, counts nothing until the next call of this.
  void Follow(Stats stats, v1::Engine engine, bool anew);
  // Runs `reset`, which zeroes the counters of the site at gpa or of all sites, and says whether it
  // did. Meanwhile the VM's figures stand still.
  void AroundReset(std::optional<uint64_t> gpa, const std::function<bool()>& reset);
  // A last look; nothing is counted or reported from then on. Whoever opened it closes it.
  void Close();

 private:
  friend class CallTally;
  enum class Naming { kUndecided, kNamed, kOthers };

  void Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<CallTally> tally_;
  const std::string vm_;
  absl::Mutex reset_mutex_;  // held over a reset, and taken before mutex_
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  Stats stats_ ABSL_GUARDED_BY(mutex_);
  v1::Engine engine_ ABSL_GUARDED_BY(mutex_) = v1::ENGINE_UNSPECIFIED;
  bool resetting_ ABSL_GUARDED_BY(mutex_) = false;
  CallFigures last_ ABSL_GUARDED_BY(mutex_);
  CallSums sums_ ABSL_GUARDED_BY(mutex_);
  Naming naming_ ABSL_GUARDED_BY(mutex_) = Naming::kUndecided;
};

// Thread-safe; made by make_shared.
class CallTally : public std::enable_shared_from_this<CallTally> {
 public:
  // Figures of more VMs than max_named at a time are reported as those of `others`.
  explicit CallTally(size_t max_named) : max_named_(max_named) {}

  std::shared_ptr<VmTally> Open(const std::string& vm);

  struct Vm {
    std::string name;
    CallSums sums;
    uint64_t sites = 0;
  };
  struct Report {
    std::map<v1::Engine, CallSums> by_engine;
    SitesByState sites{};
    // In the order in which they came; who is among the others stays there.
    std::vector<Vm> named;
    std::optional<Vm> others;  // not set: there were never any
  };
  // Looks at all VMs.
  Report Read();

 private:
  friend class VmTally;
  void Add(v1::Engine engine, const CallSums& more, bool others);
  void Remove(const VmTally* vm, bool named);
  // Whether one more VM may be reported by name.
  bool TakeName();
  void AddToOthers(const CallSums& sums);

  const size_t max_named_;
  absl::Mutex mutex_;  // taken after those of VMs
  // Those that are not closed.
  std::vector<std::shared_ptr<VmTally>> vms_ ABSL_GUARDED_BY(mutex_);
  size_t named_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<v1::Engine, CallSums> by_engine_ ABSL_GUARDED_BY(mutex_);
  std::optional<CallSums> others_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon
