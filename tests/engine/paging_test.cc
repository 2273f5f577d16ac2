// SPDX-License-Identifier: Apache-2.0
// Address translation: page-fault error codes and CR2, protection, accessed and dirty bits, the TLB
// (SDM volume 3, chapter 4).
#include <gtest/gtest.h>

#include <ostream>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

using namespace x86::pte;
namespace pf = x86::page_fault;

constexpr uint64_t kPage = Machine::kData;

enum class Do { kRead, kWrite, kFetch };

// How the control registers differ from Machine::Kernel's.
struct Mode {
  uint64_t cr0_clear = 0, cr4_set = 0, rflags_set = 0, efer_clear = 0;
};

struct Case {
  const char* name;
  Do what;
  bool user;
  uint64_t entry;                 // of kPage, without its address
  std::optional<uint32_t> error;  // nothing: no fault
  Mode mode = {};
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

constexpr uint64_t kRw = kPresent | kWritable;
constexpr std::optional<uint32_t> kNone;
constexpr Case kCases[] = {
    {"ReadNotPresent", Do::kRead, false, 0, 0},
    {"WriteNotPresent", Do::kWrite, false, 0, pf::kWrite},
    {"FetchNotPresent", Do::kFetch, false, 0, pf::kFetch},
    {"FetchNotPresentWithoutNx", Do::kFetch, false, 0, 0, {.efer_clear = x86::efer::kNxe}},
    {"UserReadNotPresent", Do::kRead, true, 0, pf::kUser},
    {"Read", Do::kRead, false, kPresent, kNone},
    {"Write", Do::kWrite, false, kRw, kNone},
    {"WriteReadOnly", Do::kWrite, false, kPresent, pf::kPresent | pf::kWrite},
    {"WriteReadOnlyWithoutWp", Do::kWrite, false, kPresent, kNone, {.cr0_clear = x86::cr0::kWp}},
    {"UserWriteReadOnlyWithoutWp",
     Do::kWrite,
     true,
     kPresent | kUser,
     pf::kPresent | pf::kWrite | pf::kUser,
     {.cr0_clear = x86::cr0::kWp}},
    {"UserReadSupervisor", Do::kRead, true, kRw, pf::kPresent | pf::kUser},
    {"UserWriteSupervisor", Do::kWrite, true, kRw, pf::kPresent | pf::kWrite | pf::kUser},
    {"UserFetchSupervisor", Do::kFetch, true, kRw, pf::kPresent | pf::kUser | pf::kFetch},
    {"UserWrite", Do::kWrite, true, kRw | kUser, kNone},
    {"FetchNoExecute", Do::kFetch, false, kRw | kNoExecute, pf::kPresent | pf::kFetch},
    {"ReadNoExecute", Do::kRead, false, kRw | kNoExecute, kNone},
    {"NoExecuteIsReservedWithoutNxe",
     Do::kRead,
     false,
     kRw | kNoExecute,
     pf::kPresent | pf::kReserved,
     {.efer_clear = x86::efer::kNxe}},
    {"ReservedAddressBit", Do::kWrite, false, kRw | uint64_t{1} << 45,
     pf::kPresent | pf::kReserved | pf::kWrite},
    {"SupervisorFetchUserWithSmep",
     Do::kFetch,
     false,
     kRw | kUser,
     pf::kPresent | pf::kFetch,
     {.cr4_set = x86::cr4::kSmep}},
    {"SupervisorFetchUser", Do::kFetch, false, kRw | kUser, kNone},
    {"SupervisorReadUserWithSmap",
     Do::kRead,
     false,
     kRw | kUser,
     pf::kPresent,
     {.cr4_set = x86::cr4::kSmap}},
    {"SupervisorWriteUserWithSmap",
     Do::kWrite,
     false,
     kRw | kUser,
     pf::kPresent | pf::kWrite,
     {.cr4_set = x86::cr4::kSmap}},
    {"SmapLiftedByAc",
     Do::kWrite,
     false,
     kRw | kUser,
     kNone,
     {.cr4_set = x86::cr4::kSmap, .rflags_set = x86::rflags::kAc}},
    {"UserWithSmap", Do::kWrite, true, kRw | kUser, kNone, {.cr4_set = x86::cr4::kSmap}},
};

class Protection : public testing::TestWithParam<Case> {};

TEST_P(Protection, FaultsAsTheEntrySays) {
  const Case& c = GetParam();
  Machine m;
  // rdi: kPage. A fetched page starts with an instruction that goes to the kernel by an invalid
  // opcode.
  m.Load({0x8b, 0x07, 0x0f, 0x0b});                            // mov eax, [rdi]; ud2
  if (c.what == Do::kWrite) m.Load({0x89, 0x07, 0x0f, 0x0b});  // mov [rdi], eax
  if (c.what == Do::kFetch) m.Load({0xff, 0xe7});              // jmp rdi
  m.Poke<uint16_t>(kPage, 0x0b0f);
  m.OpenToUser();
  if (!c.user) {
    for (uint64_t at = 0; at < Machine::kSize; at += x86::kPageSize) m.Pte(at) &= ~kUser;
  }
  m.Pte(kPage) = kPage | c.entry;

  x86::Registers r = c.user ? m.User() : m.Kernel();
  r.cr0 &= ~c.mode.cr0_clear;
  r.cr4 |= c.mode.cr4_set;
  r.efer &= ~c.mode.efer_clear;
  r.rflags |= c.mode.rflags_set;
  r.gpr[x86::kRdi] = kPage + (c.what == Do::kFetch ? 0 : 0x40);
  // The handlers' own pages must not be a user's where SMAP or SMEP is on.
  if (c.user) {
    for (uint64_t at = 0; at < Machine::kCode; at += x86::kPageSize) m.Pte(at) &= ~kUser;
    m.Pte(Machine::kTssStack - 1) &= ~kUser;
  }
  Exit exit = m.Run(r);

  auto faults = m.interrupted();
  if (!c.error) {
    EXPECT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
    EXPECT_TRUE(faults.empty()) << "vector " << faults[0].vector << " error "
                                << faults[0].error_code;
    EXPECT_TRUE(m.Pte(kPage) & kAccessed);
    EXPECT_EQ((m.Pte(kPage) & kDirty) != 0, c.what == Do::kWrite);
    return;
  }
  ASSERT_EQ(exit.reason, ExitReason::kHalt) << exit.failure;
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].vector, 14u);
  EXPECT_EQ(faults[0].error_code, *c.error);
  EXPECT_EQ(faults[0].cr2, r.gpr[x86::kRdi]);
  EXPECT_EQ(faults[0].rip, c.what == Do::kFetch ? kPage : Machine::kCode);
  EXPECT_FALSE(m.Pte(kPage) & (kAccessed | kDirty));
}

INSTANTIATE_TEST_SUITE_P(Paging, Protection, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Paging, StoreAcrossPagesChangesNothingIfTheSecondFaults) {
  Machine m;
  m.Poke<uint64_t>(kPage + 0xffc, 0x1122334455667788);
  m.Pte(kPage + 0x1000) = 0;
  m.Load({0x48, 0x89, 0x07, 0xf4});  // mov [rdi], rax
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = kPage + 0xffc;
  m.Run(r);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].cr2, kPage + 0x1000);
  EXPECT_EQ(m.interrupted()[0].error_code, pf::kWrite);
  EXPECT_EQ(m.Peek<uint32_t>(kPage + 0xffc), 0x55667788u);
}

TEST(Paging, InstructionAcrossPagesFaultsAtTheSecond) {
  Machine m;
  m.Load({0xb8, 1}, kPage + 0xffe);  // mov eax, imm32: two bytes here
  m.Pte(kPage + 0x1000) = 0;
  x86::Registers r = m.Kernel();
  r.rip = kPage + 0xffe;
  m.Run(r);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].cr2, kPage + 0x1000);
  EXPECT_EQ(m.interrupted()[0].error_code, pf::kFetch);
  EXPECT_EQ(m.interrupted()[0].rip, kPage + 0xffe);
}

TEST(Paging, InstructionAcrossPagesFollowsARemappedSecondPage) {
  Machine m;
  m.Load({0xb8, 1}, kPage + 0xffe);
  m.Load({0, 0, 0, 0xc3}, kPage + 0x1000);  // ...; ret
  m.Load({2, 0, 0, 0xc3}, kPage + 0x5000);
  // call rdi; mov ebx, eax; mov [rsi], rcx; invlpg [rdx]; call rdi; hlt
  m.Load({0xff, 0xd7, 0x89, 0xc3, 0x48, 0x89, 0x0e, 0x0f, 0x01, 0x3a, 0xff, 0xd7, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = kPage + 0xffe;
  r.gpr[x86::kRsi] = Machine::kTables + 0x3000 + ((kPage + 0x1000) >> 12) * 8;
  r.gpr[x86::kRcx] = (kPage + 0x5000) | kRw;
  r.gpr[x86::kRdx] = kPage + 0x1000;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 1u);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x201u);
}

TEST(Paging, NoncanonicalAddressIsGeneralProtection) {
  Machine m;
  m.Load({0x8b, 0x07, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = uint64_t{1} << 47;
  m.Run(r);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 13u);
  // Through RBP it is a stack fault.
  m.Poke<uint64_t>(Machine::kRecordCount, 0);
  m.Load({0x8b, 0x45, 0x00, 0xf4});
  r.gpr[x86::kRbp] = uint64_t{1} << 47;
  m.Run(r);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 12u);
}

// A program that reads a page, points its entry elsewhere, does something, and reads again.
uint64_t ReadAgainAfter(Machine& m, std::initializer_list<uint8_t> what, uint64_t entry_flags) {
  m.Poke<uint32_t>(kPage, 1);
  m.Poke<uint32_t>(kPage + 0x1000, 2);
  m.Pte(kPage) = kPage | entry_flags;
  std::vector<uint8_t> code = {0x8b, 0x07, 0x48, 0x89, 0x0e};  // mov eax, [rdi]; mov [rsi], rcx
  code.insert(code.end(), what);
  code.insert(code.end(), {0x8b, 0x07, 0xf4});
  m.Load(code);
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = kPage;
  r.gpr[x86::kRsi] = Machine::kTables + 0x3000 + (kPage >> 12) * 8;
  r.gpr[x86::kRcx] = (kPage + 0x1000) | kRw;
  EXPECT_EQ(m.Run(r).reason, ExitReason::kHalt);
  return m.regs.gpr[x86::kRax];
}

TEST(Paging, InvlpgForgetsAPage) {
  Machine m;
  EXPECT_EQ(ReadAgainAfter(m, {0x0f, 0x01, 0x3f}, kRw), 2u);  // invlpg [rdi]
  EXPECT_EQ(ReadAgainAfter(m, {0x0f, 0x01, 0x3f}, kRw | kGlobal), 2u);
}

TEST(Paging, Cr3WriteForgetsAllButGlobalPages) {
  Machine m;
  EXPECT_EQ(ReadAgainAfter(m, {0x0f, 0x20, 0xda, 0x0f, 0x22, 0xda}, kRw),
            2u);  // mov rdx, cr3; mov cr3, rdx
  EXPECT_EQ(ReadAgainAfter(m, {0x0f, 0x20, 0xda, 0x0f, 0x22, 0xda}, kRw | kGlobal), 1u);
}

TEST(Paging, InvlpgInALargePageForgetsAllOfIt) {
  Machine m;
  // Linear 4 MiB to 6 MiB: one page of 2 MiB; then its entry leads to 2 MiB.
  uint64_t pde = Machine::kTables + 0x2000 + 2 * 8;
  m.Poke<uint64_t>(pde, 0x400000 | kRw | kPageSizeBit);
  m.Poke<uint32_t>(0x400000, 1);
  m.Poke<uint32_t>(0x4ff000, 1);
  m.Poke<uint32_t>(0x200000, 2);
  m.Poke<uint32_t>(0x2ff000, 2);
  // mov eax, [rdi]; mov ebx, [rdx]; mov [rsi], rcx; invlpg [rdi]; mov eax, [rdi]; mov ebx, [rdx];
  // hlt
  m.Load(
      {0x8b, 0x07, 0x8b, 0x1a, 0x48, 0x89, 0x0e, 0x0f, 0x01, 0x3f, 0x8b, 0x07, 0x8b, 0x1a, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = 0x400000;
  r.gpr[x86::kRdx] = 0x4ff000;
  r.gpr[x86::kRsi] = pde;
  r.gpr[x86::kRcx] = 0x200000 | kRw | kPageSizeBit;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 2u);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 2u);
}

TEST(Paging, TwoLevelAndPaeTables) {
  // 32-bit code: mov eax, [edi]; mov [edi+4], eax; hlt
  for (bool pae : {false, true}) {
    Machine m;
    m.Load({0x8b, 0x07, 0x89, 0x47, 0x04, 0xf4});
    constexpr uint64_t kTop = 0x40000;
    if (pae) {
      m.Poke<uint64_t>(kTop, (kTop + 0x1000) | kPresent);
      m.Poke<uint64_t>(kTop + 0x1000, 0 | kRw | kPageSizeBit);  // 0 to 2 MiB as they are
      m.Poke<uint64_t>(kTop + 0x1008, (kTop + 0x2000) | kRw);
      m.Poke<uint64_t>(kTop + 0x2000, (kPage + 0x3000) | kRw);  // 2 MiB: kPage + 0x3000
    } else {
      m.Poke<uint32_t>(kTop, 0 | kRw | kPageSizeBit);  // 0 to 4 MiB as they are
      m.Poke<uint32_t>(kTop + 4, static_cast<uint32_t>((kTop + 0x2000) | kRw));
      m.Poke<uint32_t>(kTop + 0x2000, static_cast<uint32_t>((kPage + 0x3000) | kRw));
    }
    m.Poke<uint32_t>(kPage + 0x3000, 0x77);
    x86::Registers r = m.Kernel();
    r.efer = 0;
    r.cr3 = kTop;
    r.cr4 = pae ? x86::cr4::kPae : x86::cr4::kPse;
    r.segment[x86::kCs] = {Machine::kCode32, 0xc09b, 0xffffffff, 0};
    r.gpr[x86::kRdi] = pae ? 0x200000 : 0x400000;
    ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt) << pae;
    EXPECT_EQ(m.Peek<uint32_t>(kPage + 0x3004), 0x77u) << pae;
    if (pae) {
      EXPECT_EQ(m.Peek<uint64_t>(kTop + 0x2000) & (kAccessed | kDirty), kAccessed | kDirty);
      EXPECT_EQ(m.Peek<uint64_t>(kTop), (kTop + 0x1000) | kPresent);
    } else {
      EXPECT_EQ(m.Peek<uint32_t>(kTop + 0x2000) & (kAccessed | kDirty), kAccessed | kDirty);
    }
  }
}

}  // namespace
}  // namespace trapline::engine
