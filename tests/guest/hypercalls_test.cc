// SPDX-License-Identifier: Apache-2.0
// The table of hypercalls: what is in it, and what is not.
#include "core/guest/hypercalls.h"

#include <gtest/gtest.h>

#include <set>

#include "core/guest/abi.h"

namespace trapline::guest {
namespace {

TEST(Hypercalls, AreFoundByNumber) {
  for (const Hypercall& call : Hypercalls()) {
    ASSERT_EQ(FindHypercall(call.number), &call) << call.name;
    EXPECT_LE(call.argument_count, 4u) << call.name;
  }
  for (uint64_t number : {uint64_t{0}, uint64_t{13}, uint64_t{TRAPLINE_HC_BASE - 1},
                          Hypercalls().back().number + 1, ~uint64_t{0}}) {
    EXPECT_EQ(FindHypercall(number), nullptr) << number;
  }
}

TEST(Hypercalls, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const Hypercall& call : Hypercalls()) {
    EXPECT_FALSE(call.name.empty());
    EXPECT_TRUE(names.insert(call.name).second) << call.name;
  }
  EXPECT_EQ(HypercallName(KVM_HC_SEND_IPI), "send_ipi");
  EXPECT_EQ(HypercallName(TRAPLINE_HC_TECHNIQUE), "technique");
  EXPECT_EQ(HypercallName(4711), "hypercall_4711");
}

TEST(Hypercalls, NameTheArgumentsTheyHaveAndNoMore) {
  for (const Hypercall& call : Hypercalls()) {
    for (unsigned i = call.argument_count; i < 4; ++i)
      EXPECT_TRUE(call.arguments[i].name.empty()) << call.name;
    if (call.number < TRAPLINE_HC_BASE) continue;
    for (unsigned i = 0; i < call.argument_count; ++i)
      EXPECT_FALSE(call.arguments[i].name.empty()) << call.name;
  }
  EXPECT_EQ(HypercallArguments(KVM_HC_SEND_IPI), 4u);
  EXPECT_EQ(HypercallArguments(TRAPLINE_HC_CLOCK), 0u);
  EXPECT_EQ(HypercallArguments(4711), 4u);
}

TEST(Hypercalls, SaySomethingOfTheArgumentBehindOnlyWhereThereIsOne) {
  for (const Hypercall& call : Hypercalls()) {
    for (unsigned i = 0; i < call.argument_count; ++i) {
      Show show = call.arguments[i].show;
      if (show == Show::kWide || show == Show::kText) {
        EXPECT_LT(i + 1, call.argument_count) << call.name;
      }
    }
  }
}

TEST(Errors, AreNamedAsLinuxNamesThem) {
  EXPECT_EQ(ErrorName(-KVM_EINVAL), "EINVAL");
  EXPECT_EQ(ErrorName(-KVM_ENOSYS), "ENOSYS");
  EXPECT_EQ(ErrorName(KVM_EINVAL), "");
  EXPECT_EQ(ErrorName(-4000), "");
  EXPECT_EQ(ErrorName(INT64_MIN), "");
  EXPECT_TRUE(IsError(-1));
  EXPECT_TRUE(IsError(-4095));
  EXPECT_FALSE(IsError(-4096));
  EXPECT_FALSE(IsError(0));
}

}  // namespace
}  // namespace trapline::guest
