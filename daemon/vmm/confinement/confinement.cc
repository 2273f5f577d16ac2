// SPDX-License-Identifier: Apache-2.0
// The measures, one after the other.
//
// The order is one in which each still can: namespaces are left and the root is changed with the
// capabilities that a user namespace gives, then those are given up; filters need no_new_privs, and
// come last because the calls for all the rest are not on their lists.
#include "daemon/vmm/confinement/confinement.h"

#include <stdlib.h>
#include <time.h>

#include "daemon/common/logging.h"
#include "daemon/vmm/confinement/limits.h"
#include "daemon/vmm/confinement/private_root.h"
#include "daemon/vmm/confinement/privileges.h"

namespace trapline::daemon {
namespace {

constexpr char kNotWanted[] = "the daemon was told so";
constexpr char kSanitized[] = "not in a build with sanitizers, which look around for themselves";

#ifdef TRAPLINE_SANITIZED
constexpr bool kHasSanitizers = true;
#else
constexpr bool kHasSanitizers = false;
#endif

Measure CallsMeasure(const absl::Status& status) {
  constexpr char kName[] = "system calls";
  if (kHasSanitizers) return MakeMeasure(kName, Measure::OFF, kSanitized);
  if (!status.ok()) return MakeMeasure(kName, Measure::UNAVAILABLE, std::string(status.message()));
  return MakeMeasure(kName, Measure::APPLIED, "those on the list of each thread's role");
}

}  // namespace

void Confinement::Prepare() {
  if (!wanted_) return;
  namespaces_.LeaveShared();
  for (size_t role = 0; role < kCallRoles && !kHasSanitizers; ++role)
    filters_.push_back(CallFilter::Compile(static_cast<CallRole>(role)));
}

void Confinement::Enter(const std::string& directory) {
  if (!wanted_) {
    for (const char* name : {"namespaces", "root", "limits", "privileges", "system calls"})
      measures_.push_back(MakeMeasure(name, Measure::OFF, kNotWanted));
    return;
  }
  tzset();  // the log's time zone is a file too
  namespaces_.LeaveOwn();
  measures_.push_back(namespaces_.measure());
  if (kHasSanitizers) {
    measures_.push_back(MakeMeasure("root", Measure::OFF, kSanitized));
  } else if (namespaces_.has_mounts()) {
    measures_.push_back(EnterPrivateRoot(directory));
  } else {
    measures_.push_back(
        MakeMeasure("root", Measure::UNAVAILABLE, "it takes a mount namespace of its own"));
  }
  measures_.push_back(LowerLimits());
  measures_.push_back(GiveUpPrivileges());
  if (!kHasSanitizers) filtering_ = StartFiltering();
}

absl::Status Confinement::StartFiltering() const {
  for (const auto& filter : filters_) {
    if (!filter.ok()) return filter.status();
  }
  if (auto status = KeepSignalsInside(); !status.ok()) return status;
  return Filter(CallRole::kStarting).Install(/*all_threads=*/false);
}

void Confinement::Seal(bool engine_direct) {
  if (!wanted_) return;
  direct_ = engine_direct;
  if (filtering_.ok())
    filtering_ = Filter(direct_ ? CallRole::kServingDirect : CallRole::kServing)
                     .Install(/*all_threads=*/true);
  measures_.push_back(CallsMeasure(filtering_));
}

void Confinement::EnterVcpu() const {
  if (!filtering_.ok()) return;
  auto status = Filter(direct_ ? CallRole::kVcpuDirect : CallRole::kVcpu).Install(false);
  if (status.ok()) return;
  Log(spdlog::level::critical, "a vCPU's thread cannot be confined",
      {{"error", std::string(status.message())}});
  abort();
}

}  // namespace trapline::daemon
