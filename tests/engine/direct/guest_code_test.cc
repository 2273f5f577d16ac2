// SPDX-License-Identifier: Apache-2.0
// Arming by what traps on a host, rewriting and putting back, and what else the engine knows of a
// guest's sites; no guest runs.
#include "core/engine/direct/guest_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <vector>

#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kText = 0x200000, kRamEnd = uint64_t{64} << 20;
// vmcall, with room for a punned jump; vmmcall, likewise; vmcall of five bytes; ret; a vmcall that
// nobody can confirm.
constexpr uint64_t kVmcall = 0, kVmmcall = 7, kFive = 14, kUnclear = 20;
const std::vector<uint8_t> kCode = {0x0f, 0x01, 0xc1, 0x0f, 0x1f, 0x40, 0x00, 0x0f,
                                    0x01, 0xd9, 0x0f, 0x1f, 0x40, 0x00, 0x0f, 0x01,
                                    0xc1, 0x66, 0x90, 0xc3, 0x0f, 0x01, 0xc1};

class GuestCodeTest : public ::testing::Test {
 protected:
  void Load(TrapKinds traps) {
    auto code = GuestCode::Create({{kText, std::as_bytes(std::span(bytes_))}}, {kText}, traps,
                                  {{0, kRamEnd}});
    ASSERT_TRUE(code.ok()) << code.status();
    code_ = *std::move(code);
    ambiguous_ = code_->Load();
  }
  std::vector<uint8_t> At(uint64_t offset, size_t size = 3) const {
    auto first = bytes_.begin() + static_cast<ptrdiff_t>(offset);
    return {first, first + static_cast<ptrdiff_t>(size)};
  }
  SiteSpec Spec(uint64_t offset) const {
    SiteSpec spec{.gpa = kText + offset, .index = 0, .original = {}, .length = 3};
    std::copy_n(kCode.begin() + static_cast<ptrdiff_t>(offset), 3, spec.original.begin());
    return spec;
  }
  RewriteResult Rewrite(uint64_t offset, SiteEntry entry) {
    return code_->Rewrite(Spec(offset), entry);
  }

  std::vector<uint8_t> bytes_ = kCode;
  std::unique_ptr<GuestCode> code_;
  std::vector<uint64_t> ambiguous_;
};

struct Host {
  TrapKind vmcall, vmmcall;
  bool armed, other_armed;
};
void PrintTo(const Host& host, std::ostream* out) {
  *out << TrapKindName(host.vmcall) << " " << TrapKindName(host.vmmcall);
}

class Hosts : public GuestCodeTest, public ::testing::WithParamInterface<Host> {};

TEST_P(Hosts, WhatDoesNotTrapIsArmedAndNothingElseTouched) {
  const Host& host = GetParam();
  Load({host.vmcall, host.vmmcall});
  std::vector<uint8_t> expected = kCode;
  if (host.armed) expected[kVmcall + 1] = expected[kFive + 1] = 0x0b;
  if (host.other_armed) expected[kVmmcall + 1] = 0x0b;
  EXPECT_EQ(bytes_, expected);
  EXPECT_THAT(ambiguous_, ElementsAre(kText + kUnclear));
}

TEST_P(Hosts, ARewrittenSiteIsPutBackAsItWas) {
  Load({GetParam().vmcall, GetParam().vmmcall});
  const std::vector<uint8_t> loaded = bytes_;
  for (uint64_t site : {kVmcall, kVmmcall, kFive}) {
    for (SiteEntry entry : {SiteEntry::kInterrupt, SiteEntry::kLinked, SiteEntry::kInterrupt}) {
      ASSERT_EQ(Rewrite(site, entry), RewriteResult::kDone);
      EXPECT_NE(bytes_, loaded);
    }
    EXPECT_THAT(At(site), ElementsAre(0xcd, 0x1f, 0x90));
    ASSERT_EQ(Rewrite(site, SiteEntry::kTrap), RewriteResult::kDone);
    EXPECT_EQ(bytes_, loaded);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Hosts,
    ::testing::Values(Host{TrapKind::kSilent, TrapKind::kSilent, true, true},
                      Host{TrapKind::kUnknown, TrapKind::kOther, true, true},
                      Host{TrapKind::kRewritten, TrapKind::kRewritten, true, true},
                      Host{TrapKind::kInvalidOpcode, TrapKind::kInvalidOpcode, false, false},
                      Host{TrapKind::kGeneralProtection, TrapKind::kGeneralProtection, false,
                           false},
                      Host{TrapKind::kSilent, TrapKind::kInvalidOpcode, true, false},
                      Host{TrapKind::kGeneralProtection, TrapKind::kSilent, false, true}));

TEST_F(GuestCodeTest, LoadedAnewItStartsOver) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  const std::vector<uint8_t> loaded = bytes_;
  ASSERT_EQ(Rewrite(kVmcall, SiteEntry::kLinked), RewriteResult::kDone);
  bytes_ = kCode;
  EXPECT_THAT(code_->Load(), ElementsAre(kText + kUnclear));
  EXPECT_EQ(bytes_, loaded);
  EXPECT_EQ(Rewrite(kVmcall, SiteEntry::kLinked), RewriteResult::kDone);
}

TEST_F(GuestCodeTest, ALinkedSiteOfThreeBytesLeavesThoseBehindIt) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  ASSERT_EQ(Rewrite(kVmcall, SiteEntry::kLinked), RewriteResult::kDone);
  EXPECT_EQ(bytes_[kVmcall], 0xe9);
  EXPECT_THAT(At(kVmcall + 3, 4), ElementsAre(0x0f, 0x1f, 0x40, 0x00));
  ASSERT_EQ(Rewrite(kFive, SiteEntry::kLinked), RewriteResult::kDone);
  EXPECT_EQ(bytes_[kFive], 0xe9);
  int32_t displacement;
  std::memcpy(&displacement, &bytes_[kFive + 1], sizeof displacement);
  uint64_t stub = kText + kFive + 5 + static_cast<uint64_t>(int64_t{displacement});
  EXPECT_GE(stub, uint64_t{TRAPLINE_NEAR_STUBS});
  EXPECT_LT(stub, uint64_t{TRAPLINE_NEAR_END});
}

TEST_F(GuestCodeTest, OtherBytesThanItsOwnAreNotWrittenOver) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  bytes_[kVmcall + 2] = 0x77;
  const std::vector<uint8_t> changed = bytes_;
  for (SiteEntry entry : {SiteEntry::kInterrupt, SiteEntry::kLinked, SiteEntry::kTrap})
    EXPECT_EQ(Rewrite(kVmcall, entry), RewriteResult::kBytesChanged);
  SiteSpec outside = Spec(kVmcall);
  outside.gpa = kText + kCode.size() - 1;
  EXPECT_EQ(code_->Rewrite(outside, SiteEntry::kInterrupt), RewriteResult::kBytesChanged);
  EXPECT_EQ(bytes_, changed);
}

// It was not found at load, and so has trapped by itself.
TEST_F(GuestCodeTest, AnUnconfirmedSiteGetsNoJump) {
  Load({TrapKind::kInvalidOpcode, TrapKind::kInvalidOpcode});
  EXPECT_EQ(Rewrite(kUnclear, SiteEntry::kLinked), RewriteResult::kJumpUnplanned);
  EXPECT_EQ(bytes_, kCode);
  EXPECT_EQ(Rewrite(kUnclear, SiteEntry::kInterrupt), RewriteResult::kDone);
  EXPECT_EQ(Rewrite(kUnclear, SiteEntry::kTrap), RewriteResult::kDone);
  EXPECT_EQ(bytes_, kCode);
}

TEST_F(GuestCodeTest, SitesAreKnownByWhereTheyAreAndWhereCallsGoOn) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  auto original = code_->OriginalAt(kText + kVmmcall);
  ASSERT_TRUE(original.has_value());
  EXPECT_THAT(*original, ElementsAre(0x0f, 0x01, 0xd9));
  for (uint64_t none : {kText + kVmcall + 1, kText + kUnclear, uint64_t{0}, ~uint64_t{0}})
    EXPECT_EQ(code_->OriginalAt(none), std::nullopt);
  EXPECT_EQ(code_->SiteBefore(kText + kVmcall + 3), kText + kVmcall);
  EXPECT_EQ(code_->SiteBefore(kText + kFive + 5), kText + kFive);
  for (uint64_t none : {kText + kVmcall + 5, kText + kFive + 3, uint64_t{0}, uint64_t{2}})
    EXPECT_EQ(code_->SiteBefore(none), std::nullopt);
  EXPECT_EQ(code_->SkipPadding(kText + kFive + 3), kText + kFive + 5);
  for (uint64_t as_it_is : {kText + kVmcall + 3, kText + kFive, kText + kFive + 4, uint64_t{0}})
    EXPECT_EQ(code_->SkipPadding(as_it_is), as_it_is);
}

TEST_F(GuestCodeTest, WhatTheGuestHasIsLaidOverWhateverStandsThere) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  ASSERT_EQ(Rewrite(kVmmcall, SiteEntry::kInterrupt), RewriteResult::kDone);
  ASSERT_EQ(Rewrite(kFive, SiteEntry::kLinked), RewriteResult::kDone);
  std::vector<uint8_t> read = bytes_;
  EXPECT_NE(read, kCode);
  code_->OverlayOriginal(kText, std::as_writable_bytes(std::span(read)));
  EXPECT_EQ(read, kCode);
  // A piece that begins and ends within sites.
  for (size_t first : {kVmmcall + 1, kFive + 1, kFive + 4}) {
    std::vector<uint8_t> piece(bytes_.begin() + static_cast<ptrdiff_t>(first), bytes_.end() - 4);
    code_->OverlayOriginal(kText + first, std::as_writable_bytes(std::span(piece)));
    EXPECT_TRUE(
        std::equal(piece.begin(), piece.end(), kCode.begin() + static_cast<ptrdiff_t>(first)))
        << first;
  }
}

TEST_F(GuestCodeTest, OnlyALinkedSiteHasAStub) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  EXPECT_FALSE(code_->StubOf(kText + kVmcall));
  for (uint64_t site : {kVmcall, kFive}) {
    ASSERT_EQ(Rewrite(site, SiteEntry::kLinked), RewriteResult::kDone);
    auto stub = code_->StubOf(kText + site);
    ASSERT_TRUE(stub);
    EXPECT_EQ(stub->code.size(), kStubCodeSize);
    EXPECT_EQ(stub->code[34], std::byte{0x38}) << "the address of CONTROL_LINKED_ENTRY, ends it";
    int32_t displacement;
    std::memcpy(&displacement, &bytes_[site + 1], sizeof displacement);
    EXPECT_EQ(stub->address, kText + site + 5 + static_cast<uint64_t>(int64_t{displacement}));
  }
  ASSERT_EQ(Rewrite(kVmcall, SiteEntry::kTrap), RewriteResult::kDone);
  EXPECT_FALSE(code_->StubOf(kText + kVmcall));
}

TEST_F(GuestCodeTest, AGuestProcessCanWriteNoneOfIt) {
  Load({TrapKind::kSilent, TrapKind::kSilent});
  for (const Mapping& mapping : code_->Mappings())
    EXPECT_EQ(mapping.protection & PROT_WRITE, 0u) << std::hex << mapping.address;
}

}  // namespace
}  // namespace trapline::engine::direct
