// SPDX-License-Identifier: Apache-2.0
// Errors, from the daemon or from here, as one type.
#include "cli/status.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "cli/exit_code.h"
#include "cli/table.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/status.pb.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kDetailsPayload = "type.googleapis.com/google.rpc.Status";
constexpr absl::string_view kHintPayload = "trapline.cli/hint";

std::string Payload(const absl::Status& status, absl::string_view type) {
  const absl::optional<absl::Cord> payload = status.GetPayload(type);
  return payload ? std::string(*payload) : "";
}

google::rpc::Status DetailsOf(const absl::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(Payload(status, kDetailsPayload))) details.Clear();
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  return details;
}

template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  const google::rpc::Status details = DetailsOf(status);
  Detail found;
  for (const google::protobuf::Any& any : details.details()) {
    if (any.UnpackTo(&found)) return found;
  }
  return {};
}

// What to do about errors whose remedy is the same wherever they come up.
std::string HintOf(const absl::Status& status) {
  if (std::string hint = Payload(status, kHintPayload); !hint.empty()) return hint;
  const google::rpc::ErrorInfo info = ErrorInfoOf(status);
  if (info.reason() == "VM_NOT_FOUND") return "'trapline vm ls' lists the VMs there are";
  if (info.reason() == "SITE_NOT_FOUND") return "'trapline sites ls VM' lists the sites there are";
  if (status.code() == absl::StatusCode::kDeadlineExceeded) return "--timeout allows more time";
  return "";
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    out.SetPayload(kDetailsPayload, absl::Cord(status.error_details()));
  }
  return out;
}

absl::Status WithHint(absl::Status status, absl::string_view hint) {
  if (!status.ok() && !hint.empty()) status.SetPayload(kHintPayload, absl::Cord(hint));
  return status;
}

absl::Status UsageError(absl::string_view field, absl::string_view what) {
  google::rpc::BadRequest request;
  auto* violation = request.add_field_violations();
  violation->set_field(std::string(field));
  violation->set_description(std::string(what));
  google::rpc::Status details;
  details.add_details()->PackFrom(request);
  absl::Status out = absl::InvalidArgumentError("the command line is not valid");
  out.SetPayload(kDetailsPayload, absl::Cord(details.SerializeAsString()));
  return out;
}

google::rpc::ErrorInfo ErrorInfoOf(const absl::Status& status) {
  return DetailOf<google::rpc::ErrorInfo>(status);
}

std::string CodeName(absl::StatusCode code) {
  std::string name = absl::StatusCodeToString(code);
  return name.empty() ? "UNKNOWN" : name;
}

std::string DescribeStatus(const absl::Status& status) {
  const google::rpc::ErrorInfo info = ErrorInfoOf(status);
  std::string out =
      status.message().empty() ? CodeName(status.code()) : std::string(status.message());
  const google::rpc::BadRequest request = DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : request.field_violations()) {
    absl::StrAppend(&out, "\n  ", violation.field(), ": ", violation.description());
  }
  // Metadata repeats the message's dynamic parts; what the message does not say is worth a line.
  const std::map<std::string, std::string> metadata(info.metadata().begin(), info.metadata().end());
  for (const auto& [key, value] : metadata) {
    if (value.empty() || absl::StrContains(out, value)) continue;
    absl::StrAppend(&out, "\n  ", key, ": ", value);
  }
  if (!info.reason().empty()) absl::StrAppend(&out, "\n  reason: ", info.reason());
  if (const std::string hint = HintOf(status); !hint.empty()) absl::StrAppend(&out, "\n  ", hint);
  // Parts of it may be a guest's or a file's; lines are ours.
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(out, '\n')) lines.push_back(Printable(line));
  return absl::StrJoin(lines, "\n");
}

std::string StatusAsJson(const absl::Status& status) {
  google::rpc::Status details = DetailsOf(status);
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(details, &json).ok()) {
    details.clear_details();  // a detail of a type that this build does not know
    json.clear();
    (void)google::protobuf::util::MessageToJsonString(details, &json);
  }
  google::protobuf::Struct error;
  (void)google::protobuf::util::JsonStringToMessage(json, &error);
  auto& fields = *error.mutable_fields();
  fields["status"].set_string_value(CodeName(status.code()));
  fields["exitCode"].set_number_value(ExitCodeFor(status));
  if (const std::string hint = HintOf(status); !hint.empty()) fields["hint"].set_string_value(hint);
  google::protobuf::Struct document;
  *(*document.mutable_fields())["error"].mutable_struct_value() = std::move(error);
  std::string out;
  (void)google::protobuf::util::MessageToJsonString(document, &out);
  return out;
}

}  // namespace trapline::cli
