// SPDX-License-Identifier: Apache-2.0
// The services of trapline/v1.
#include "daemon/access/public_services.h"

#include "trapline/v1/host.pb.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/traces.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

std::vector<const google::protobuf::ServiceDescriptor*> PublicServices() {
  std::vector<const google::protobuf::ServiceDescriptor*> services;
  for (const auto* file :
       {v1::Vm::descriptor()->file(), v1::Site::descriptor()->file(),
        v1::TraceRecord::descriptor()->file(), v1::HostInfo::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
  }
  return services;
}

}  // namespace trapline::daemon
