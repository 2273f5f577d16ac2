// SPDX-License-Identifier: Apache-2.0
// The difference of two ledgers as people and scripts read it.
#include "cli/ledger_diff_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/sites_text.h"
#include "cli/units.h"
#include "google/protobuf/util/json_util.h"

namespace trapline::cli {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

std::string Label(const v1::Site& site) {
  return site.symbol().empty() ? Hex(site.gva()) : site.symbol();
}

std::string Pair(const std::string& before, const std::string& after) {
  return before == after
             ? after
             : absl::StrCat(before.empty() ? "-" : before, " -> ", after.empty() ? "-" : after);
}

std::string CyclesText(const v1::Site& site) {
  const std::optional<double> cycles = CyclesPerCall(site);
  return cycles ? Grouped(static_cast<uint64_t>(*cycles)) : "-";
}

std::string Calls(const v1::Site& site) { return Grouped(site.traps() + site.fast_calls()); }

// Which ledger it is: of what VM, when, on which engine.
std::string SourceText(const LedgerSource& source) {
  const v1::Vm& vm = source.ledger.vm();
  return Printable(absl::StrCat(source.file ? "file " : "VM ", source.name, ": ",
                                LastSegment(vm.name()), ", engine ", EngineName(vm.engine()), ", ",
                                vm.spec().kernel_path(), ", ", source.ledger.sites_size(),
                                " sites, ", TimeText(source.ledger.time())));
}

void AddOneSided(Table& table, const Cell& change, const v1::Site& site) {
  table.Add({change, Label(site), "-", SiteStateCell(site), TechniqueName(site.technique()),
             Grouped(site.traps()), Calls(site), CyclesText(site), "", site.state_reason()});
}

void AddChanged(Table& table, const SiteMatch& match) {
  const v1::Site &before = *match.before, &after = *match.after;
  const std::optional<double> cheaper = match.TimesCheaper();
  table.Add({Cell("changed", Colour::kYellow), Pair(Label(before), Label(after)),
             MatchRuleName(match.rule),
             Pair(SiteStateName(before.state()), SiteStateName(after.state())),
             Pair(TechniqueName(before.technique()), TechniqueName(after.technique())),
             Pair(Grouped(before.traps()), Grouped(after.traps())),
             Pair(Calls(before), Calls(after)), Pair(CyclesText(before), CyclesText(after)),
             cheaper ? absl::StrFormat("%.2fx", *cheaper) : "",
             Pair(before.state_reason(), after.state_reason())});
}

// As JSON has it.
Value ValueOf(const google::protobuf::Message& message) {
  Value value;
  (void)google::protobuf::util::JsonStringToMessage(ToJson(message, false), &value);
  return value;
}

Struct SourceDocument(const LedgerSource& source) {
  Struct document;
  auto& fields = *document.mutable_fields();
  fields["source"].set_string_value(source.file ? "file" : "vm");
  fields["name"].set_string_value(source.name);
  fields["time"] = ValueOf(source.ledger.time());
  fields["vm"] = ValueOf(source.ledger.vm());
  fields["sites"].set_number_value(source.ledger.sites_size());
  return document;
}

Struct MatchDocument(const SiteMatch& match) {
  Struct document;
  auto& fields = *document.mutable_fields();
  fields["matchedBy"].set_string_value(std::string(MatchRuleName(match.rule)));
  for (const absl::string_view change : match.Changes()) {
    fields["changes"].mutable_list_value()->add_values()->set_string_value(std::string(change));
  }
  fields["before"] = ValueOf(*match.before);
  fields["after"] = ValueOf(*match.after);
  if (const auto cheaper = match.TimesCheaper()) fields["timesCheaper"].set_number_value(*cheaper);
  return document;
}

}  // namespace

std::string DiffText(const LedgerSource& before, const LedgerSource& after, const LedgerDiff& diff,
                     bool colour) {
  Table table({{"CHANGE"},
               {"SITE"},
               {"MATCHED BY"},
               {"STATE"},
               {"TECHNIQUE"},
               {"TRAPS", Align::kRight},
               {"CALLS", Align::kRight},
               {"CYCLES/CALL", Align::kRight},
               {"CHEAPER", Align::kRight},
               {"WHY"}});
  for (const v1::Site* site : diff.removed)
    AddOneSided(table, Cell("removed", Colour::kRed), *site);
  for (const v1::Site* site : diff.added) AddOneSided(table, Cell("added", Colour::kGreen), *site);
  for (const SiteMatch& match : diff.changed) AddChanged(table, match);
  return absl::StrCat("before: ", SourceText(before), "\nafter:  ", SourceText(after), "\n\n",
                      table.empty() ? "" : absl::StrCat(table.Render(colour), "\n"),
                      diff.added.size(), " added, ", diff.removed.size(), " removed, ",
                      diff.changed.size(), " changed, ", diff.unchanged, " unchanged\n");
}

Struct DiffDocument(const LedgerSource& before, const LedgerSource& after, const LedgerDiff& diff) {
  Struct document;
  auto& fields = *document.mutable_fields();
  *fields["before"].mutable_struct_value() = SourceDocument(before);
  *fields["after"].mutable_struct_value() = SourceDocument(after);
  auto &added = *fields["added"].mutable_list_value(),
       &removed = *fields["removed"].mutable_list_value(),
       &changed = *fields["changed"].mutable_list_value();
  for (const v1::Site* site : diff.added) *added.add_values() = ValueOf(*site);
  for (const v1::Site* site : diff.removed) *removed.add_values() = ValueOf(*site);
  for (const SiteMatch& match : diff.changed)
    *changed.add_values()->mutable_struct_value() = MatchDocument(match);
  fields["unchanged"].set_number_value(static_cast<double>(diff.unchanged));
  return document;
}

}  // namespace trapline::cli
