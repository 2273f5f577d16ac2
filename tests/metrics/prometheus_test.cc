// SPDX-License-Identifier: Apache-2.0
// Debian's Prometheus scrapes a real daemon, with our rules, and is asked what our dashboard asks.
#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/api/daemon_process.h"
#include "tests/cli/process.h"
#include "tests/metrics/http.h"
#include "tests/metrics/promql_names.h"
#include "tests/metrics/scrape.h"

namespace trapline::metrics_test {
namespace {

using cli_test::Process;
using google::protobuf::Value;
using ::testing::Contains;
using ::testing::Each;

constexpr char kRules[] = TRAPLINE_DEPLOY_DIR "/prometheus/trapline.rules.yml",
               kDashboard[] = TRAPLINE_DEPLOY_DIR "/grafana/trapline.json";

Value Json(const std::string& text) {
  Value value;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, &value).ok()) << text;
  return value;
}
std::string File(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// What members of that name hold, wherever they are, where it is text.
void FindText(const Value& value, const std::string& name, std::vector<std::string>* found) {
  for (const Value& element : value.list_value().values()) FindText(element, name, found);
  for (const auto& [member, inner] : value.struct_value().fields()) {
    if (member == name && inner.kind_case() == Value::kStringValue)
      found->push_back(inner.string_value());
    FindText(inner, name, found);
  }
}
std::vector<std::string> FindText(const Value& value, const std::string& name) {
  std::vector<std::string> found;
  FindText(value, name, &found);
  return found;
}

const Value& Member(const Value& value, const std::string& name) {
  static const Value none;
  auto member = value.struct_value().fields().find(name);
  return member == value.struct_value().fields().end() ? none : member->second;
}

// A Prometheus of the test's own that scrapes a daemon of its own.
class WithPrometheus : public ::testing::Test {
 protected:
  WithPrometheus() {
    directory_ = daemon_.directory() + "/prometheus";
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ + "/prometheus.yml")
        << "global: {scrape_interval: 200ms, evaluation_interval: 200ms}\n"
        << "rule_files: [" << kRules << "]\n"
        << "scrape_configs:\n"
        << "  - {job_name: trapline, static_configs: [{targets: [\"127.0.0.1:"
        << daemon_.metrics_port() << "\"]}]}\n";
    prometheus_.emplace(
        std::vector<std::string>{PROMETHEUS, "--config.file=" + directory_ + "/prometheus.yml",
                                 "--storage.tsdb.path=" + directory_ + "/data",
                                 "--web.listen-address=127.0.0.1:0", "--log.level=info"});
    const std::string listening = "msg=\"Listening on\" address=";
    EXPECT_TRUE(prometheus_->ReadErrorUntil("Server is ready to receive web requests"))
        << prometheus_->err();
    const std::string& log = prometheus_->err();
    size_t at = log.find(listening);
    EXPECT_NE(at, std::string::npos) << log;
    at += listening.size();
    base_ = "http://" + log.substr(at, log.find('\n', at) - at) + "/api/v1/";
  }

  void Start(const std::string& id, v1::Engine engine) {
    v1::CreateVmRequest request;
    request.set_vm_id(id);
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/hello.elf");
    spec->set_command_line("calls=1000000000000");
    spec->set_memory_bytes(16 << 20);
    spec->set_engine(engine);
    v1::Vm vm;
    grpc::ClientContext context;
    ASSERT_TRUE(daemon_.vms().CreateVm(&context, request, &vm).ok());
    ASSERT_TRUE(daemon_.StartVm(id).ok());
  }

  // The answer's data; a failure of the test where Prometheus refuses.
  Value Ask(const std::string& what) {
    HttpAnswer answer = Get(base_ + what);
    EXPECT_EQ(answer.code, 200) << what << "\n" << answer.body;
    return Member(Json(answer.body), "data");
  }
  // One value for each series.
  std::vector<double> Query(const std::string& expression) {
    std::vector<double> values;
    Value data = Ask("query?query=" + UrlEncoded(expression));
    for (const Value& series : Member(data, "result").list_value().values()) {
      double value = NAN;
      EXPECT_TRUE(
          absl::SimpleAtod(Member(series, "value").list_value().values(1).string_value(), &value));
      values.push_back(value);
    }
    return values;
  }
  // Asks until there is one series and its value is of that sort.
  template <typename Matcher>
  double Await(const std::string& expression, const Matcher& matcher) {
    for (;;) {
      std::vector<double> values = Query(expression);
      if (HasFailure()) return NAN;
      if (values.size() == 1 && ::testing::Matches(matcher)(values[0])) return values[0];
    }
  }
  Scrape Fetch() {
    return Scrape(Get(absl::StrCat("http://127.0.0.1:", daemon_.metrics_port(), "/metrics")).body);
  }

  daemon::DaemonProcess daemon_{"", {"--metrics-listen", "0"}};
  std::string directory_, base_;
  std::optional<Process> prometheus_;
};

// A panel's query as Grafana would send it.
std::string AsSent(const std::string& expression) {
  return absl::StrReplaceAll(
      expression, {{"$__rate_interval", "10s"}, {"$__range", "5m"}, {"$instance", ".*"}});
}

TEST_F(WithPrometheus, ItSeesGuestsOfBothEnginesAndAnswersWhatTheDashboardAsks) {
  Start("a", v1::ENGINE_SOFT);
  Start("b", v1::ENGINE_DIRECT);
  Await("up", ::testing::Eq(1));
  for (const char* engine : {"soft", "direct"}) {
    std::string calls = absl::StrCat("sum(trapline_hypercalls_total{engine=\"", engine, "\"})");
    double before = Await(calls, ::testing::Gt(0));
    Await(calls, ::testing::Gt(before));
  }
  EXPECT_EQ(Await("sum(trapline_vms{state=\"running\"})", ::testing::Gt(0)), 2);

  std::vector<std::string> queries = FindText(Json(File(kDashboard)), "expr");
  EXPECT_GT(queries.size(), 20u);
  for (const std::string& query : queries) Query(AsSent(query));

  // Some that must have something to show by now, and no nonsense.
  for (const char* panel : {"Calls by technique", "VMs by state", "Memory", "CPU"}) {
    Value dashboard = Json(File(kDashboard));
    bool found = false;
    for (const Value& each : Member(dashboard, "panels").list_value().values()) {
      if (Member(each, "title").string_value() != panel) continue;
      found = true;
      for (const std::string& query : FindText(each, "expr")) {
        std::vector<double> values;
        while (values.empty() && !HasFailure()) values = Query(AsSent(query));
        EXPECT_THAT(values, Each(::testing::Ge(0))) << query;
        EXPECT_THAT(values, Contains(::testing::Gt(0))) << query;
      }
    }
    EXPECT_TRUE(found) << panel;
  }
  Await("sum(rate(trapline_hypercalls_total{technique=\"linked\"}[10s]))", ::testing::Gt(0));
  EXPECT_THAT(Query("sum by (method) (trapline_rpc_handled_total{code=\"OK\"}) > 0"), Contains(2));
}

// A panel or a rule that asks for what is not there shows nothing, and looks like peace.
TEST_F(WithPrometheus, DashboardAndRulesAskForNothingThatThereIsNot) {
  Start("a", v1::ENGINE_SOFT);
  std::vector<std::string> asked = FindText(Json(File(kDashboard)), "expr");
  std::vector<std::string> rules = FindText(Ask("rules?type=alert"), "query");
  EXPECT_GE(rules.size(), 8u);
  asked.insert(asked.end(), rules.begin(), rules.end());
  for (const std::string& variable : FindText(Json(File(kDashboard)), "definition")) {
    ASSERT_TRUE(absl::StartsWith(variable, "label_values(")) << variable;
    asked.push_back(variable.substr(13, variable.find(',') - 13));
  }
  std::set<std::string> exported = Fetch().Names();
  exported.insert("up");  // Prometheus' own
  for (const std::string& expression : asked) {
    std::set<std::string> names = MetricNames(expression);
    for (const std::string& name : names)
      EXPECT_EQ(exported.count(name), 1u) << name << " in " << expression;
  }
}

TEST_F(WithPrometheus, AWorkerThatDiesRaisesAnAlert) {
  Await("up", ::testing::Eq(1));
  Await("sum(trapline_worker_losses_total)", ::testing::Eq(0));
  Start("a", v1::ENGINE_SOFT);
  std::vector<pid_t> workers = daemon_.Children("trapline-vmm");
  ASSERT_EQ(workers.size(), 1u);
  kill(workers[0], SIGKILL);
  Await("sum(ALERTS{alertname=\"TraplineWorkerLost\",alertstate=\"firing\"})", ::testing::Eq(1));
}

TEST(Deployment, TheExampleConfigurationIsOne) {
  Process promtool({PROMTOOL, "check", "config", TRAPLINE_DEPLOY_DIR "/prometheus/prometheus.yml"});
  promtool.CloseStdin();
  EXPECT_EQ(promtool.Wait(), 0) << promtool.out() << promtool.err();
}

TEST(Deployment, RulesFireWhenTheyShall) {
  Process promtool(
      {PROMTOOL, "test", "rules", TRAPLINE_DEPLOY_DIR "/prometheus/trapline.test.yml"});
  promtool.CloseStdin();
  EXPECT_EQ(promtool.Wait(), 0) << promtool.out() << promtool.err();
}

}  // namespace
}  // namespace trapline::metrics_test
