// SPDX-License-Identifier: Apache-2.0
// Names and explanations of the daemon's metrics.
#include "daemon/control/daemon_metrics.h"

#include <chrono>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "daemon/access/public_services.h"
#include "daemon/metrics/call_metrics.h"
#include "daemon/metrics/families.h"
#include "daemon/metrics/process_metrics.h"

namespace trapline::daemon {
namespace {

using Families = std::vector<prometheus::MetricFamily>;

void Append(Families more, Families* to) {
  to->insert(to->end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void AppendCount(const char* name, const char* help, const Activity::Count& count, Families* to) {
  auto family = CounterFamily(name, help);
  AddValue(&family, {}, static_cast<double>(count.load(std::memory_order_relaxed)));
  to->push_back(std::move(family));
}
void AppendGauge(const char* name, const char* help, MetricLabels labels, double value,
                 Families* to) {
  auto family = GaugeFamily(name, help);
  AddValue(&family, std::move(labels), value);
  to->push_back(std::move(family));
}

void AppendVms(Registry& registry, Families* to) {
  std::map<std::pair<v1::Engine, v1::Vm::State>, int> counts;
  for (v1::Engine engine : {v1::ENGINE_SOFT, v1::ENGINE_DIRECT}) {
    for (int state = v1::Vm::CREATED; state <= v1::Vm::FAILED; ++state)
      counts[{engine, static_cast<v1::Vm::State>(state)}] = 0;
  }
  for (const auto& vm : registry.All()) ++counts[vm->EngineAndState()];
  auto vms = GaugeFamily("trapline_vms",
                         "VMs by engine and state. The engine is \"none\" where no worker has "
                         "chosen one since the daemon's start.");
  for (const auto& [key, count] : counts) {
    AddValue(&vms,
             {{"engine", EngineLabel(key.first)},
              {"state", absl::AsciiStrToLower(v1::Vm::State_Name(key.second))}},
             count);
  }
  to->push_back(std::move(vms));
  AppendGauge("trapline_vms_damaged",
              "VMs that are not there because their records in the state directory are damaged; "
              "the log names them.",
              {}, static_cast<double>(registry.damaged()), to);
  AppendGauge("trapline_vms_limit", "VMs that this daemon keeps at most (--max-vms).", {},
              registry.max_vms(), to);
}

void AppendEvents(const EventHub& hub, Families* to) {
  auto events = CounterFamily("trapline_vm_events_total",
                              "Events of VMs by kind; `failed` is a VM that ended by a fault of "
                              "its guest's or with its worker.");
  std::vector<uint64_t> published = hub.PublishedByKind();
  for (int kind = v1::VmEvent::CREATED; kind <= v1::VmEvent::Kind_MAX; ++kind) {
    AddValue(&events,
             {{"kind", absl::AsciiStrToLower(
                           v1::VmEvent::Kind_Name(static_cast<v1::VmEvent::Kind>(kind)))}},
             static_cast<double>(published[static_cast<size_t>(kind)]));
  }
  to->push_back(std::move(events));
}

void AppendWorkers(const Activity& activity, Families* to) {
  AppendCount("trapline_worker_starts_total",
              "Workers that were started; each is a process that runs one VM.",
              activity.workers_started, to);
  AppendCount("trapline_worker_start_failures_total",
              "Workers that did not come to serve, or died over their VM's images.",
              activity.workers_not_started, to);
  AppendCount("trapline_worker_adoptions_total",
              "Workers that an earlier daemon left running and this one took over.",
              activity.workers_adopted, to);
  AppendCount("trapline_worker_losses_total",
              "Workers that died while the daemon wanted them. Each is a VM that failed; the log "
              "says how.",
              activity.workers_lost, to);
}

void AppendStreams(const Activity& activity, Families* to) {
  AppendCount("trapline_trace_records_total",
              "Traced hypercalls that were sent to clients, once for each client.",
              activity.trace_records, to);
  AppendCount("trapline_trace_dropped_total",
              "Traced hypercalls that clients did not get: they were too slow for the guest, or "
              "the guest called faster than it may be recorded.",
              activity.trace_dropped, to);
  auto missed =
      CounterFamily("trapline_watch_missed_total",
                    "Updates that watching clients were too slow for: events of VMs, or looks at a "
                    "VM's sites.");
  AddValue(&missed, {{"watch", "events"}}, static_cast<double>(activity.events_missed.load()));
  AddValue(&missed, {{"watch", "sites"}}, static_cast<double>(activity.site_updates_missed.load()));
  to->push_back(std::move(missed));
  AppendCount("trapline_console_missed_bytes_total",
              "Console output that clients were too slow for.", activity.console_bytes_missed, to);
}

}  // namespace

DaemonMetrics::DaemonMetrics(Registry& registry, std::shared_ptr<CallTally> tally)
    : registry_(registry), tally_(std::move(tally)), rpc_(PublicServices()) {}

std::vector<prometheus::MetricFamily> DaemonMetrics::Collect() const {
  auto begin = std::chrono::steady_clock::now();
  Families families;
  AppendGauge("trapline_build_info", "Always 1; its label says which version this is.",
              {{"version", TRAPLINE_VERSION}}, 1, &families);
  AppendVms(registry_, &families);
  Append(CallFamilies(tally_->Read()), &families);
  AppendEvents(registry_.hub(), &families);
  AppendWorkers(registry_.activity(), &families);
  AppendStreams(registry_.activity(), &families);
  Append(rpc_.Collect(), &families);
  Append(CollectProcessMetrics(), &families);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  AppendGauge("trapline_scrape_duration_seconds",
              "How long it took to collect what you are reading, most of it reading stats files.",
              {}, took.count(), &families);
  return families;
}

}  // namespace trapline::daemon
