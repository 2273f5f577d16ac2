// SPDX-License-Identifier: Apache-2.0
// A mapping outlives what it maps.
#include "core/base/mapped_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace trapline::base {
namespace {

constexpr uint64_t kPages = 4, kPage = 4096;

UniqueFd FileOf(uint64_t size) {
  UniqueFd fd(memfd_create("mapped", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

TEST(MappedFile, ShowsTheFile) {
  UniqueFd fd = FileOf(kPages * kPage);
  auto file = MappedFile::Map(fd.get(), kPages * kPage, MappedFile::Mode::kReadWrite);
  ASSERT_TRUE(file.ok());
  (*file)->data()[kPage] = std::byte{7};
  std::byte read{};
  ASSERT_EQ(pread(fd.get(), &read, 1, kPage), 1);
  EXPECT_EQ(read, std::byte{7});
}

TEST(MappedFile, ReadsZerosWhereTheFileWasCutAway) {
  UniqueFd fd = FileOf(kPages * kPage);
  auto file = MappedFile::Map(fd.get(), kPages * kPage, MappedFile::Mode::kReadWrite);
  ASSERT_TRUE(file.ok());
  auto* data = reinterpret_cast<volatile uint8_t*>((*file)->data());
  for (uint64_t page = 0; page < kPages; ++page) data[page * kPage] = 9;
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  EXPECT_EQ(data[0], 9);
  for (uint64_t page = 1; page < kPages; ++page) EXPECT_EQ(data[page * kPage], 0);
  data[kPage] = 5;
  EXPECT_EQ(data[kPage], 5);
}

TEST(MappedFile, IsMadeAgainAsOftenAsOneLikes) {
  UniqueFd fd = FileOf(kPage);
  for (int i = 0; i < 10'000; ++i)
    ASSERT_TRUE(MappedFile::Map(fd.get(), kPage, MappedFile::Mode::kRead).ok()) << i;
}

TEST(MappedFile, SaysWhyItCouldNotBeMade) {
  auto file = MappedFile::Map(-1, kPage, MappedFile::Mode::kRead);
  EXPECT_TRUE(absl::IsUnavailable(file.status())) << file.status();
  EXPECT_FALSE(file.status().message().empty());
}

TEST(MappedFileDeathTest, OtherBusErrorsStillEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  UniqueFd fd = FileOf(kPages * kPage);
  auto file = MappedFile::Map(fd.get(), kPage, MappedFile::Mode::kRead);
  void* other = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(other, MAP_FAILED);
  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  auto* byte = static_cast<volatile uint8_t*>(other);
  EXPECT_DEATH(exit(*byte), "");
  munmap(other, kPage);
}

}  // namespace
}  // namespace trapline::base
