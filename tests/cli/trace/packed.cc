// SPDX-License-Identifier: Apache-2.0
// Packed responses for tests.
#include "tests/cli/trace/packed.h"

#include "core/guest/abi.h"

namespace trapline::cli {

TracedCall SendIpi() {
  return {.guest_ns = 1'500'000'000,
          .number = KVM_HC_SEND_IPI,
          .arguments = {6, 0, 1, 0xfd},
          .result = 2,
          .site = 0,
          .cycles = 61,
          .vcpu = 2,
          .path = trapline::v1::TECHNIQUE_LINKED};
}

v1::StreamHypercallsResponse ResponseAfter(int64_t seconds, const std::vector<TracedCall>& calls) {
  v1::StreamHypercallsResponse response;
  response.set_packed(calls.data(), calls.size() * sizeof(TracedCall));
  response.mutable_start_time()->set_seconds(kStartSeconds + seconds);
  v1::TraceSite& site = *response.add_sites();
  site.set_index(0);
  site.set_name("vms/debian/sites/0x1e3f0a7");
  site.set_gva(0xffffffff8106f0a7);
  site.set_symbol("kvm_send_ipi_mask+0x9c");
  return response;
}

v1::StreamHypercallsResponse Response(const std::vector<TracedCall>& calls, uint64_t dropped) {
  v1::StreamHypercallsResponse response = ResponseAfter(0, calls);
  response.set_dropped(dropped);
  return response;
}

}  // namespace trapline::cli
