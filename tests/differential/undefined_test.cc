// SPDX-License-Identifier: Apache-2.0
// How far two CPUs may differ: what is let through, and what next to it is not.
#include "tests/differential/undefined.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <memory>

#include "core/x86/exceptions.h"
#include "tests/differential/compare.h"

namespace trapline::differential {
namespace {

constexpr uint64_t kFault = kUnmapped + 0x100;

// Two outcomes, neither of which has changed anything.
class UndefinedTest : public ::testing::Test {
 protected:
  void Execute(std::initializer_list<uint8_t> code, bool compat = false) {
    instance_->compat = compat;
    instance_->length = static_cast<uint8_t>(code.size());
    std::copy(code.begin(), code.end(), instance_->code.begin());
    State& in = instance_->in;
    in.rip = kCode;
    in.gpr[x86::kRsi] = in.gpr[x86::kRdi] = kFault;
    SetFcw(0x37f);
    native_->out = soft_->out = in;
    Report(*native_, x86::Vector::kPageFault, kFault);
    Report(*soft_, x86::Vector::kPageFault, kFault);
  }
  void Aim(uint64_t target, uint16_t size) {
    instance_->target = target;
    instance_->target_size = size;
  }
  static void Report(Outcome& outcome, x86::Vector vector, uint64_t address = 0) {
    outcome.vector = static_cast<uint8_t>(vector);
    outcome.fault_address = address;
  }
  void SetFcw(uint16_t fcw) { std::memcpy(&instance_->in.fxsave[0], &fcw, sizeof fcw); }
  static void SetFsw(Outcome& outcome, uint16_t fsw) {
    std::memcpy(&outcome.out.fxsave[2], &fsw, sizeof fsw);
  }
  bool Agree() const { return Difference(*instance_, *native_, *soft_).empty(); }

  const std::unique_ptr<Instance> instance_ = std::make_unique<Instance>();
  const std::unique_ptr<Outcome> native_ = std::make_unique<Outcome>();
  const std::unique_ptr<Outcome> soft_ = std::make_unique<Outcome>();
};

TEST_F(UndefinedTest, CompareFaultsAtEitherOperandAndNowhereElse) {
  Execute({0xa6});  // cmpsb
  instance_->in.gpr[x86::kRdi] = native_->out.gpr[x86::kRdi] = soft_->out.gpr[x86::kRdi] =
      kFault + 8;
  native_->fault_address = kFault + 8;
  EXPECT_TRUE(Agree());
  native_->fault_address = kFault + 9;
  EXPECT_FALSE(Agree());
}

TEST_F(UndefinedTest, OperandsOfACompareMayOverlap) {
  Execute({0x66, 0xa7});  // cmpsw
  instance_->in.gpr[x86::kRdi] = native_->out.gpr[x86::kRdi] = soft_->out.gpr[x86::kRdi] =
      kFault - 1;
  native_->fault_address = kFault - 1;
  EXPECT_TRUE(Agree());
  native_->fault_address = kFault + 1;
  EXPECT_FALSE(Agree());
}

TEST_F(UndefinedTest, OtherStringInstructionsHaveOneOrder) {
  Execute({0xa4});  // movsb
  native_->fault_address = kFault + 8;
  EXPECT_FALSE(Agree());
}

TEST_F(UndefinedTest, AnX87StoreFaultsOrIsWithheldByAnUnmaskedException) {
  Execute({0xdb, 0x1e});  // fistp dword [rsi]
  Aim(kFault, 4);
  SetFcw(0x37e);  // invalid operation unmasked
  for (Outcome* outcome : {native_.get(), soft_.get()}) {
    std::memcpy(outcome->out.fxsave.data(), instance_->in.fxsave.data(), 2);
  }
  Report(*native_, x86::Vector::kGeneralProtection);
  native_->out.rip += 2;
  SetFsw(*native_, 0x8081);
  EXPECT_TRUE(Agree());
  soft_->memory[0] = std::byte{1};
  EXPECT_FALSE(Agree()) << "who faults stores nothing";
  soft_->memory[0] = std::byte{0};
  SetFsw(*native_, 0x8084);
  EXPECT_FALSE(Agree()) << "that exception is masked";
  SetFsw(*native_, 0);
  EXPECT_FALSE(Agree()) << "nothing was there to withhold the store";
}

TEST_F(UndefinedTest, AFaultingMmxStoreLeavesTopAloneOrAtZero) {
  constexpr uint16_t kTop = 3 << 11;
  Execute({0x0f, 0x7f, 0x06});  // movq [rsi], mm0
  auto set_register = [](State& state, size_t st) { state.fxsave[32 + st * 16] = std::byte{1}; };
  auto fsw = kTop;
  std::memcpy(&instance_->in.fxsave[2], &fsw, sizeof fsw);
  SetFsw(*soft_, kTop);
  set_register(soft_->out, 0);
  set_register(native_->out, 3);
  EXPECT_TRUE(Agree()) << "ST(0) with TOP at 3 is ST(3) with TOP at 0";
  SetFsw(*native_, 1 << 11);
  EXPECT_FALSE(Agree());
  SetFsw(*native_, kTop);
  EXPECT_FALSE(Agree()) << "not the same registers";
}

TEST_F(UndefinedTest, AnIdleRepetitionKeepsOrClearsUpperHalves) {
  constexpr uint64_t kUpper = uint64_t{5} << 32;
  Execute({0x67, 0xf3, 0xaa});  // rep stosb with a 32-bit address
  instance_->in.gpr[x86::kRcx] = soft_->out.gpr[x86::kRcx] = kUpper | 2;
  native_->out.gpr[x86::kRcx] = 2;
  EXPECT_TRUE(Agree());
  native_->out.gpr[x86::kRcx] = uint64_t{6} << 32 | 2;
  EXPECT_FALSE(Agree());
  native_->out.gpr[x86::kRcx] = 1;
  soft_->out.gpr[x86::kRcx] = kUpper | 1;
  EXPECT_FALSE(Agree()) << "an element was done";
}

TEST_F(UndefinedTest, LimitsOfFourGigabytesMayHold) {
  Execute({0x8b, 0x06}, true);  // mov eax, [esi]
  Aim(0xfffffffe, 4);
  Report(*native_, x86::Vector::kPageFault, 0xfffffffe);
  Report(*soft_, x86::Vector::kGeneralProtection);
  EXPECT_TRUE(Agree());
  Aim(0xfffffffc, 4);
  EXPECT_FALSE(Agree());
}

TEST_F(UndefinedTest, ALargeX87StoreThatFaultsMayBeThereInPart) {
  Execute({0xdb, 0x3e});  // fstp tbyte [rsi]
  Aim(kReadOnly - 8, 10);
  native_->memory[kReadOnly - 8 - kMemory] = std::byte{1};
  EXPECT_TRUE(Agree());
  native_->memory[kReadOnly - 9 - kMemory] = std::byte{1};
  EXPECT_FALSE(Agree());
}

}  // namespace
}  // namespace trapline::differential
