// SPDX-License-Identifier: Apache-2.0
// Hypercalls with arguments that make no sense.
#include <cstdlib>
#include <cstring>

#include "core/guest/abi.h"
#include "tests/hypercall/fakes.h"

namespace {

using namespace trapline::hypercall;

struct Ledger final : LedgerServices {
  bool RegisterDirectSites(uint64_t, uint64_t length) override { return length != 0; }
  bool LimitTechnique(uint64_t technique) override { return technique != 0; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FakeHost& host = *new FakeHost;
  Ledger ledger;
  uint64_t words[6] = {};
  std::memcpy(words, data, size < sizeof words ? size : sizeof words);
  // Numbers near those that are served, else hardly one would be.
  bool own = words[0] & 1;
  uint64_t number = own ? TRAPLINE_HC_BASE + (words[0] >> 1) % 16 : (words[0] >> 1) % 16;
  Call call{.vcpu = static_cast<uint32_t>(words[5] % FakeHost::kVcpus),
            .number = number,
            .args = {words[1], words[2], words[3], words[4]}};
  Serve(host, ledger, call);
  host.kicked.clear();
  host.sent.clear();
  host.console.clear();
  return 0;
}
