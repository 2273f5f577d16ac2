// SPDX-License-Identifier: Apache-2.0
// Images that are cut short or lie are refused at create, by the name of the field.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

class Images : public ::testing::Test {
 protected:
  Images()
      : path_(std::filesystem::temp_directory_path() /
              ("trapline-image-" + std::to_string(getpid()))) {
    std::ifstream in(GuestConfig("hello").kernel_path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }
  ~Images() override { std::filesystem::remove(path_); }

  Elf64_Ehdr& header() { return *reinterpret_cast<Elf64_Ehdr*>(bytes_.data()); }
  Elf64_Phdr& segment() { return *reinterpret_cast<Elf64_Phdr*>(bytes_.data() + header().e_phoff); }

  absl::Status Make() {
    std::ofstream(path_, std::ios::binary)
        .write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    VmConfig config = GuestConfig("hello");
    config.kernel_path = path_;
    return RunningVm(config).made();
  }
  void ExpectRefused(const std::string& field) {
    absl::Status status = Make();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
    auto payload = status.GetPayload("trapline/field");
    ASSERT_TRUE(payload);
    EXPECT_EQ(*payload, "kernel");
  }

  std::string path_;
  std::vector<char> bytes_;
};

TEST_F(Images, AGoodOneIsTaken) { EXPECT_TRUE(Make().ok()); }

TEST_F(Images, ACutOneIsRefused) {
  bytes_.resize(0x1800);
  ExpectRefused("p_offset");
}
TEST_F(Images, AHeaderAloneIsRefused) {
  bytes_.resize(sizeof(Elf64_Ehdr));
  ExpectRefused("e_phoff");
}
TEST_F(Images, ProgramHeadersThatWrapAreRefused) {
  header().e_phoff = ~uint64_t{0} - 8;
  ExpectRefused("e_phoff");
}
TEST_F(Images, MoreFileThanMemoryIsRefused) {
  segment().p_filesz = segment().p_memsz + 1;
  ExpectRefused("p_filesz");
}
TEST_F(Images, ASegmentOutsideMemoryIsRefused) {
  segment().p_paddr = ~uint64_t{0} - 4096;
  ExpectRefused("p_paddr");
}
TEST_F(Images, ASegmentOverBootStructuresIsRefused) {
  segment().p_paddr = 0x1000;
  ExpectRefused("p_paddr");
}
TEST_F(Images, OverlappingSegmentsAreRefused) {
  Elf64_Phdr* segments = &segment();
  segments[1].p_paddr = segments[0].p_paddr;
  ExpectRefused("overlap");
}
TEST_F(Images, AnEntryOutsideIsRefused) {
  header().e_entry = 0x123;
  ExpectRefused("e_entry");
}
TEST_F(Images, SomethingElseIsRefused) {
  bytes_.assign(100, 'x');
  ExpectRefused("neither a bzImage");
}
TEST_F(Images, ABzImageWithASetupThatIsNotThereIsRefused) {
  bytes_.assign(1024, 0);
  bytes_[0x1f1] = 60;
  std::memcpy(bytes_.data() + 0x1fe, "\x55\xaa", 2);
  std::memcpy(bytes_.data() + 0x202, "HdrS\x0f\x02", 6);
  bytes_[0x211] = 1;
  bytes_[0x236] = 1;
  ExpectRefused("setup_sects");
}
TEST_F(Images, AMissingFileIsRefused) {
  VmConfig config = GuestConfig("hello");
  config.kernel_path = "/nonexistent";
  absl::Status status = RunningVm(config).made();
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent: No such file"));
}

}  // namespace
}  // namespace trapline::vm
