// SPDX-License-Identifier: Apache-2.0
// What the kernel knows of this process.
#include "daemon/metrics/process_metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "daemon/metrics/families.h"

namespace trapline::daemon {
namespace {

double CpuSeconds() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

double OpenDescriptors() {
  std::error_code error;
  auto each = std::filesystem::directory_iterator("/proc/self/fd", error);
  // One is that of looking.
  return static_cast<double>(std::distance(begin(each), end(each)) - 1);
}

double MostDescriptors() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

// Seconds since 1970: the machine's start, and this process' since then.
double StartTime() {
  std::ifstream machine("/proc/stat");
  double booted = 0;
  for (std::string word; machine >> word;) {
    if (word == "btime" && machine >> booted) break;
  }
  // Field 22, counted behind the name, which is in parentheses and may hold anything.
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::string rest = text.substr(std::min(text.rfind(')') + 1, text.size()));
  std::istringstream fields(rest);
  std::string skipped;
  double ticks = 0;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  fields >> ticks;
  return booted + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

prometheus::MetricFamily One(prometheus::MetricFamily family, double value) {
  AddValue(&family, {}, value);
  return family;
}

}  // namespace

std::vector<prometheus::MetricFamily> CollectProcessMetrics() {
  static const double start_time = StartTime();
  double pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  return {
      One(CounterFamily("process_cpu_seconds_total",
                        "CPU time that the daemon used, in user and kernel mode. Its VMs are "
                        "processes of their own and not in here."),
          CpuSeconds()),
      One(GaugeFamily("process_resident_memory_bytes", "The daemon's resident memory."),
          resident * page),
      One(GaugeFamily("process_virtual_memory_bytes",
                      "The daemon's address space. It maps every VM's stats file, most of which is "
                      "never touched."),
          pages * page),
      One(GaugeFamily("process_open_fds", "Descriptors that the daemon has open."),
          OpenDescriptors()),
      One(GaugeFamily("process_max_fds", "Descriptors that the daemon may have open."),
          MostDescriptors()),
      One(GaugeFamily("process_start_time_seconds",
                      "When the daemon was started, in seconds since 1970. All of its counters "
                      "begin there."),
          start_time),
  };
}

}  // namespace trapline::daemon
