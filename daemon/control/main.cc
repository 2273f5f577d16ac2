// SPDX-License-Identifier: Apache-2.0
// traplined: the control plane. Flags, signals, beginning and end.
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "daemon/access/access_config.h"
#include "daemon/access/audit_log.h"
#include "daemon/access/authorizer.h"
#include "daemon/access/unix_socket.h"
#include "daemon/common/logging.h"
#include "daemon/control/bounded_end.h"
#include "daemon/control/daemon_metrics.h"
#include "daemon/control/registry.h"
#include "daemon/control/server.h"
#include "daemon/control/store.h"
#include "daemon/control/systemd_notify.h"
#include "daemon/control/systemd_socket.h"
#include "daemon/metrics/exporter.h"
#include "grpc/grpc.h"

namespace {

using namespace trapline::daemon;

constexpr absl::Duration kEndAtMost = absl::Seconds(10);
constexpr unsigned kRetireSeconds = 30;
constexpr char kFooter[] = R"(
Without a configuration file the user that runs traplined, and root, may do everything and nobody else anything.

By default traplined listens on $XDG_RUNTIME_DIR/trapline/traplined.sock, or /run/trapline/traplined.sock where
that variable is not set; `trapline` looks there too. Where systemd listens for it (a socket unit), that socket is
served and no other made; --listen may be left out then, or has to name the same.

Examples:
  traplined                                       serve this user
  traplined --listen unix:///tmp/t.sock           somewhere else (then: trapline --host unix:///tmp/t.sock ...)
  traplined --config /etc/trapline/traplined.toml --listen-tcp 0.0.0.0:7443   others too, by role and certificate
  traplined --metrics-listen 9464                 metrics for Prometheus at http://127.0.0.1:9464/metrics

SIGTERM and SIGINT end it: streams are told, VMs run on and are taken up by the next traplined of
the same --run-dir and --state-dir, unless --on-exit stop; exit code 0.)";

struct Options {
  std::string listen, tcp, config, state_directory, run_directory,
      log_level = "info", log_format = "text", vmm, on_exit = "leave", workers = "fork", metrics;
  std::string worker_cgroup;
  bool listen_given = false, insecure_metrics = false, require_confinement = false,
       no_confinement = false;
  uint32_t max_vms = 1000, metrics_max_vms = 100;
};

std::string RuntimeDirectory() {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  return (runtime && *runtime ? std::string(runtime) : "/run") + "/trapline";
}
std::string StateDirectory() {
  if (const char* state = getenv("XDG_STATE_HOME"); state && *state)
    return std::string(state) + "/trapline";
  const char* home = getenv("HOME");
  if (geteuid() == 0 || !home) return "/var/lib/trapline";
  return std::string(home) + "/.local/state/trapline";
}
// Beside this program as it was built, or where it is installed (sbin and libexec/trapline).
std::string WorkerProgram() {
  std::error_code error;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto beside = here / "trapline-vmm";
  if (std::filesystem::exists(beside, error)) return beside.string();
  return (here / "../libexec/trapline/trapline-vmm").lexically_normal().string();
}

int Fail(const std::string& message) {
  Log(spdlog::level::err, message);
  return 1;
}

// gRPC's threads come and go with the calls, and each arena of malloc's that they use keeps what
// was freed in it; there would be eight for each CPU.
void LimitArenas() {
  constexpr int kArenas = 4;
  mallopt(M_ARENA_MAX, kArenas);
}

// Each VM takes a descriptor or two, each client one, and the usual soft limit is 1024.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Null where nobody asked for metrics.
absl::StatusOr<std::unique_ptr<MetricsExporter>> Export(
    const Options& options, const std::shared_ptr<DaemonMetrics>& metrics) {
  if (!metrics) return nullptr;
  auto address = ParseMetricsAddress(options.metrics, options.insecure_metrics);
  if (!address.ok()) return address.status();
  return MetricsExporter::Start(*address, metrics);
}

absl::StatusOr<AccessConfig> LoadAccess(const std::string& path) {
  return path.empty() ? AccessConfig{} : LoadAccessConfig(path);
}

// systemd's socket, or the path of the daemon's own.
absl::StatusOr<ActivatedSocket> SocketToServe(const Options& options) {
  const std::string wanted =
      options.listen.rfind("unix://", 0) == 0 ? options.listen.substr(7) : options.listen;
  auto activated = TakeActivatedSocket();
  if (!activated.ok()) return activated.status();
  if (!activated->fd.valid()) return ActivatedSocket{{}, wanted};
  auto real = [](const std::string& path) {
    std::error_code error;
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
  };
  if (options.listen_given && real(wanted) != real(activated->path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen ", wanted, ", but systemd listens on ", activated->path,
        "; let ListenStream= in the socket unit name the same, or leave --listen out"));
  }
  return activated;
}

std::shared_ptr<const CgroupTree> WorkerCgroups(const Options& options) {
  if (options.no_confinement) return nullptr;
  return std::make_shared<const CgroupTree>(options.worker_cgroup.empty()
                                                ? CgroupTree::OfThisProcess()
                                                : CgroupTree::At(options.worker_cgroup));
}

// Whom it is for is said twice then, in the unit and in the configuration.
void CompareSocket(const std::string& path, const SocketConfig& config) {
  const std::string differences = Differences(path, config);
  if (differences.empty()) return;
  Log(spdlog::level::warn,
      "systemd's socket is as its unit makes it, not as [socket] has it; change SocketMode=, "
      "SocketUser= or SocketGroup= there",
      {{"socket", path}, {"differences", differences}});
}

int Serve(const Options& options, ActivatedSocket socket) {
  std::error_code error;
  // A worker's working directory is another.
  const std::string run_directory = std::filesystem::absolute(options.run_directory, error);
  for (const std::string& directory : {options.state_directory, run_directory}) {
    std::filesystem::create_directories(directory, error);
    if (error) return Fail("cannot make " + directory + ": " + error.message());
  }
  if (access(options.vmm.c_str(), X_OK) != 0)
    return Fail("--vmm-path " + options.vmm + ": not a program; it should be trapline-vmm");
  auto access_config = LoadAccess(options.config);
  if (!access_config.ok()) return Fail(std::string(access_config.status().message()));
  auto audit = AuditLog::Open(access_config->audit);
  if (!audit.ok()) return Fail(std::string(audit.status().message()));
  auto store = Store::Open(options.state_directory + "/vms.sqlite");
  if (!store.ok()) return Fail(std::string(store.status().message()));
  std::vector<std::string> worker = {options.vmm, "--log-level", options.log_level};
  if (options.log_format == "json") worker.emplace_back("--log-json");
  if (options.no_confinement) worker.emplace_back("--unconfined");
  // Before there are other processes: only who is alone in a cgroup may divide it.
  auto cgroups = WorkerCgroups(options);
  std::shared_ptr<Zygote> zygote;
  if (options.workers == "fork") zygote = std::make_shared<Zygote>(worker);
  std::shared_ptr<CallTally> tally;
  if (!options.metrics.empty()) tally = std::make_shared<CallTally>(options.metrics_max_vms);
  Registry registry({run_directory,
                     {worker, "", options.require_confinement, std::move(cgroups), zygote},
                     options.max_vms,
                     tally},
                    *std::move(store));
  std::shared_ptr<DaemonMetrics> metrics;
  if (tally) metrics = std::make_shared<DaemonMetrics>(registry, tally);
  auto exporter = Export(options, metrics);
  if (!exporter.ok()) return Fail(std::string(exporter.status().message()));

  const bool leave = options.on_exit == "leave";
  BoundedEnd end(kEndAtMost, [&] {
    Log(spdlog::level::warn, "calls did not end in time; ending without them");
    alarm(kRetireSeconds);  // which ends the process if VMs do not end either
    registry.RetireAll(leave);
    _exit(1);
  });
  if (auto status = end.Start(); !status.ok()) return Fail(std::string(status.message()));

  if (socket.fd.valid() && !options.config.empty())
    CompareSocket(socket.path, access_config->socket);
  auto server =
      Server::Start({.unix_socket = socket.path,
                     .inherited = std::move(socket.fd),
                     .tcp = options.tcp,
                     .authorizer = std::make_shared<Authorizer>(*std::move(access_config)),
                     .audit = audit->get(),
                     .rpc_metrics = metrics ? &metrics->rpc() : nullptr},
                    registry);
  if (!server.ok()) {
    registry.RetireAll(/*leave=*/true);  // what it has taken up runs on for a daemon that can serve
    return Fail(std::string(server.status().message()));
  }
  Log(spdlog::level::info, "serving",
      {{"socket", socket.path},
       {"tcp_port", std::to_string((*server)->tcp_port())},
       {"metrics_port", std::to_string(*exporter ? (*exporter)->port() : 0)},
       {"version", TRAPLINE_VERSION}});
  SystemdNotify systemd(registry, socket.path);

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  int taken = 0;
  sigwait(&signals, &taken);
  Log(spdlog::level::info, "ending",
      {{"signal", std::to_string(taken)}, {"vms", leave ? "left running" : "stopped"}});
  systemd.Stopping();
  end.Stopping();
  (*server)->Stop();
  end.Stopped();
  registry.RetireAll(leave);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.listen = "unix://" + RuntimeDirectory() + "/traplined.sock";
  options.run_directory = RuntimeDirectory();
  options.state_directory = StateDirectory();
  options.vmm = WorkerProgram();

  CLI::App app("traplined: keeps VMs and serves their control over gRPC.");
  app.footer(kFooter);
  app.set_version_flag("--version", TRAPLINE_VERSION);
  app.option_defaults()->always_capture_default();
  app.add_option("--config", options.config,
                 "Who may do what, TLS, the audit log: a file as deploy/traplined.toml is one");
  auto* listen =
      app.add_option("--listen", options.listen, "Unix socket, as unix:///PATH or a path");
  app.add_option("--listen-tcp", options.tcp,
                 "Also ADDRESS:PORT, by TLS; takes a [tls] section in the configuration");
  auto* metrics = app.add_option("--metrics-listen", options.metrics,
                                 "Serve metrics to Prometheus at [ADDRESS:]PORT, by HTTP; without "
                                 "an address at 127.0.0.1");
  app.add_flag("--insecure-metrics", options.insecure_metrics,
               "Allow them at an address that other machines reach")
      ->needs(metrics);
  app.add_option("--metrics-max-vms", options.metrics_max_vms,
                 "How many VMs have metrics of their own; the others are summed up")
      ->check(CLI::Range(0u, 100000u))
      ->needs(metrics);
  app.add_option("--state-dir", options.state_directory, "Where VM definitions are kept");
  app.add_option("--run-dir", options.run_directory,
                 "Where workers have their sockets and stats files");
  app.add_option("--vmm-path", options.vmm, "The worker program");
  app.add_option(
         "--workers", options.workers,
         "How a worker is made: forked from one that is loaded, or spawned by itself, which "
         "takes longer and gives each an address space layout of its own")
      ->check(CLI::IsMember({"fork", "spawn"}));
  auto* required = app.add_flag("--require-confinement", options.require_confinement,
                                "Refuse to make a VM whose worker this host cannot confine fully");
  auto* unconfined = app.add_flag("--no-confinement", options.no_confinement,
                                  "Leave workers all that the daemon may do; for debugging them")
                         ->excludes(required);
  app.add_option(
         "--worker-cgroup", options.worker_cgroup,
         "The cgroup (version 2) that is divided among VMs, as a path below the place where "
         "that version is mounted; otherwise it is the one that the daemon is in")
      ->excludes(unconfined);
  app.add_option("--max-vms", options.max_vms, "How many VMs there may be")
      ->check(CLI::Range(1u, 100000u));
  app.add_option("--on-exit", options.on_exit, "What becomes of VMs when the daemon ends")
      ->check(CLI::IsMember({"stop", "leave"}));
  app.add_option("--log-level", options.log_level, "How much is logged")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error"}));
  app.add_option("--log-format", options.log_format, "How log lines look")
      ->check(CLI::IsMember({"text", "json"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  options.listen_given = listen->count() != 0;
  SetUpLogging(options.log_level, options.log_format == "json");
  signal(SIGPIPE, SIG_IGN);
  // Taken by Serve alone; every other thread inherits the mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto socket = SocketToServe(options);
  if (!socket.ok()) return Fail(std::string(socket.status().message()));
  LimitArenas();
  // Never undone: taking gRPC 1.51 down can wait ten seconds for a poller of its own.
  grpc_init();
  RaiseDescriptorLimit();
  try {
    return Serve(options, *std::move(socket));
  } catch (const std::system_error& error) {
    return Fail(absl::StrCat("no thread for the daemon itself: ", error.what(),
                             "; the limit on processes (RLIMIT_NPROC, TasksMax=) is reached"));
  }
}
