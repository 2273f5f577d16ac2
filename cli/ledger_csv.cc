// SPDX-License-Identifier: Apache-2.0
// Sites and transitions as comma-separated values.
#include "cli/ledger_csv.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/names.h"
#include "cli/sites_text.h"
#include "cli/units.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kSiteColumns =
    "gpa,gva,symbol,cpl,state,state_reason,technique,original,current,traps,fast_calls,"
    "interrupt_calls,linked_calls,trap_cycles,interrupt_cycles,linked_cycles,numbers,first_use_ns,"
    "last_use_ns,last_transition_ns,policy_limit,policy_interrupt_after,policy_linked_after";
constexpr absl::string_view kTransitionColumns =
    "sequence,time,guest_time_ns,vcpu,gpa,symbol,from,to,reason,policy_limit,"
    "policy_interrupt_after,policy_linked_after";
constexpr absl::string_view kLineEnd = "\r\n";

std::string Field(absl::string_view text) {
  const std::string printable = Printable(text);
  if (printable.find_first_of(",\"") == std::string::npos) return printable;
  return absl::StrCat("\"", absl::StrReplaceAll(printable, {{"\"", "\"\""}}), "\"");
}

class Row {
 public:
  void Add(absl::string_view text) { fields_.push_back(Field(text)); }
  void Add(uint64_t number) { fields_.push_back(absl::StrCat(number)); }
  void AddIf(bool there, uint64_t number) { fields_.push_back(there ? absl::StrCat(number) : ""); }
  void AddTime(bool there, const google::protobuf::Duration& time) {
    fields_.push_back(
        there ? absl::StrCat(google::protobuf::util::TimeUtil::DurationToNanoseconds(time)) : "");
  }
  void AddPolicy(bool there, const v1::Policy& policy) {
    Add(TechniqueName(policy.limit()));
    AddIf(there, policy.interrupt_after());
    AddIf(there, policy.linked_after());
  }
  std::string Render() const { return absl::StrCat(absl::StrJoin(fields_, ","), kLineEnd); }

 private:
  std::vector<std::string> fields_;
};

v1::Site::PathStats PathOf(const v1::Site& site, v1::Technique technique) {
  for (const auto& path : site.paths()) {
    if (path.path() == technique) return path;
  }
  return {};
}

std::string Numbers(const v1::Site& site) {
  return absl::StrJoin(site.numbers(), " ", [](std::string* out, const auto& number) {
    absl::StrAppend(out, number.name().empty() ? absl::StrCat(number.number()) : number.name(), ":",
                    number.calls());
  });
}

}  // namespace

std::string SiteCsvHeading() { return absl::StrCat(kSiteColumns, kLineEnd); }

std::string SiteCsvRow(const v1::Site& site) {
  const auto trap = PathOf(site, v1::TECHNIQUE_EMULATE),
             interrupt = PathOf(site, v1::TECHNIQUE_INTERRUPT),
             linked = PathOf(site, v1::TECHNIQUE_LINKED);
  Row row;
  row.Add(Hex(site.gpa()));
  row.Add(Hex(site.gva()));
  row.Add(site.symbol());
  row.Add(site.cpl());
  row.Add(SiteStateName(site.state()));
  row.Add(site.state_reason());
  row.Add(TechniqueName(site.technique()));
  row.Add(absl::BytesToHexString(site.original()));
  row.Add(absl::BytesToHexString(site.current()));
  for (const uint64_t count : {site.traps(), site.fast_calls(), interrupt.calls(), linked.calls(),
                               trap.cycles(), interrupt.cycles(), linked.cycles()})
    row.Add(count);
  row.Add(Numbers(site));
  row.AddTime(site.has_first_use(), site.first_use());
  row.AddTime(site.has_last_use(), site.last_use());
  row.AddTime(site.has_last_transition(), site.last_transition());
  row.AddPolicy(site.has_policy(), site.policy());
  return row.Render();
}

std::string TransitionCsvHeading() { return absl::StrCat(kTransitionColumns, kLineEnd); }

std::string TransitionCsvRow(const v1::SiteTransition& transition) {
  Row row;
  row.Add(transition.sequence());
  row.Add(TimeText(transition.time()));
  row.AddTime(transition.has_guest_time(), transition.guest_time());
  row.AddIf(transition.has_vcpu(), transition.vcpu());
  row.Add(LastSegment(transition.site()));
  row.Add(transition.symbol());
  row.Add(SiteStateName(transition.from()));
  row.Add(SiteStateName(transition.to()));
  row.Add(transition.reason());
  row.AddPolicy(transition.has_policy(), transition.policy());
  return row.Render();
}

}  // namespace trapline::cli
