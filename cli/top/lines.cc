// SPDX-License-Identifier: Apache-2.0
// The busiest sites as lines, for where there is no screen.
#include "cli/top/lines.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/top/figures.h"
#include "cli/units.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli::top {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;

constexpr int kNumbersWidth = 40;

std::string LineOf(const Model& model, const TrackedSite& site, absl::Time now) {
  const Rates rates = model.RatesOf(site);
  return absl::StrFormat(
      "%s  %s  %-10s  %-32s  %-18s  calls/s %-6s  cycles/call %-6s  traps/s %-6s  traps %s  %s\n",
      absl::FormatTime("%H:%M:%E3S", now, absl::LocalTimeZone()), model.vm(site).id, Hex(site.gpa),
      Printable(site.symbol.empty() ? Hex(site.gva) : site.symbol),
      StateText(site, now, INT_MAX, Glyphs{.utf8 = false}), Scaled(rates.calls),
      Scaled(model.CyclesPerCall(site)), Scaled(rates.traps), Grouped(site.traps),
      Printable(NumbersText(site, kNumbersWidth)));
}

// An object under construction.
class Object {
 public:
  explicit Object(Struct& object) : fields_(*object.mutable_fields()) {}
  void Text(const std::string& name, absl::string_view value) {
    fields_[name].set_string_value(std::string(value));
  }
  void Count(const std::string& name, uint64_t value) { Text(name, absl::StrCat(value)); }
  void Rate(const std::string& name, double value) { fields_[name].set_number_value(value); }
  ListValue& List(const std::string& name) { return *fields_[name].mutable_list_value(); }

 private:
  google::protobuf::Map<std::string, google::protobuf::Value>& fields_;
};

Struct VmAsJson(const TrackedVm& vm) {
  Struct out;
  Object object(out);
  object.Text("name", absl::StrCat("vms/", vm.id));
  object.Text("state", v1::Vm::State_Name(vm.state));
  object.Text("engine", v1::Engine_Name(vm.engine));
  object.Count("sites", vm.totals.sites());
  object.Count("traps", vm.totals.traps());
  object.Count("fastCalls", vm.totals.fast_calls());
  object.Count("patches", vm.totals.patches());
  object.Count("reverts", vm.totals.reverts());
  object.Count("missed", vm.missed);
  object.Rate("trapCallsPerSecond", vm.calls_by_path[0]);
  object.Rate("interruptCallsPerSecond", vm.calls_by_path[1]);
  object.Rate("linkedCallsPerSecond", vm.calls_by_path[2]);
  object.Rate("cyclesPerSecond", vm.cycles_rate);
  if (vm.link == Link::kLost) object.Text("trouble", vm.trouble);
  return out;
}

Struct SiteAsJson(const Model& model, const TrackedSite& site) {
  const Rates rates = model.RatesOf(site);
  Struct out;
  Object object(out);
  object.Text("name", model.KeyOf(site).name());
  object.Text("symbol", site.symbol);
  object.Text("state", v1::Site::State_Name(site.state));
  if (site.change) object.Text("changedFrom", v1::Site::State_Name(site.change->from));
  object.Count("traps", site.traps);
  object.Count("fastCalls", site.fast_calls);
  object.Count("cycles", site.cycles);
  object.Rate("callsPerSecond", rates.calls);
  object.Rate("trapsPerSecond", rates.traps);
  object.Rate("cyclesPerSecond", rates.cycles);
  object.Rate("cyclesPerCall", model.CyclesPerCall(site));
  ListValue& numbers = object.List("numbers");
  for (const TrackedSite::Number& number : site.numbers) {
    Object one(*numbers.add_values()->mutable_struct_value());
    one.Count("number", number.number);
    one.Text("name", number.name);
    one.Count("calls", number.calls);
  }
  return out;
}

}  // namespace

std::string LinesOf(const Model& model, Listing& listing, size_t rows, absl::Time now) {
  std::string out;
  for (const TrackedSite* site : Arrange(model, listing, rows).rows)
    absl::StrAppend(&out, LineOf(model, *site, now));
  return out;
}

std::string JsonLineOf(const Model& model, Listing& listing, size_t rows, absl::Time now) {
  Struct out;
  Object object(out);
  object.Text("time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone()));
  ListValue& vms = object.List("vms");
  for (const TrackedVm& vm : model.vms()) *vms.add_values()->mutable_struct_value() = VmAsJson(vm);
  ListValue& sites = object.List("sites");
  for (const TrackedSite* site : Arrange(model, listing, rows).rows)
    *sites.add_values()->mutable_struct_value() = SiteAsJson(model, *site);
  return ToJson(out, false);
}

}  // namespace trapline::cli::top
