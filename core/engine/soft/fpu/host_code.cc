// SPDX-License-Identifier: Apache-2.0
// Puts the frames together and keeps them.
#include "core/engine/soft/fpu/host_code.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "core/base/unique_fd.h"

namespace trapline::engine::soft {
namespace {

using Code = std::vector<uint8_t>;

void Append(Code& code, std::initializer_list<uint8_t> bytes) { code.insert(code.end(), bytes); }
void Append(Code& code, std::span<const uint8_t> bytes) {
  code.insert(code.end(), bytes.begin(), bytes.end());
}

// Code memory for the process's life; what the guest can make of instructions is bounded, and so is
// this.
class CodeMemory {
 public:
  static constexpr size_t kSize = 8 << 20;
  static constexpr size_t kAlignment = 32;

  CodeMemory() {
    base::UniqueFd fd(memfd_create("host-code", MFD_CLOEXEC));
    if (!fd.valid() || ftruncate(fd.get(), kSize) != 0) return;
    void* write = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    void* execute = mmap(nullptr, kSize, PROT_READ | PROT_EXEC, MAP_SHARED, fd.get(), 0);
    if (write == MAP_FAILED || execute == MAP_FAILED) return;
    write_ = static_cast<uint8_t*>(write);
    execute_ = static_cast<uint8_t*>(execute);
  }
  // The code at an executable address; null if there is no room.
  void* Find(const Code& code) {
    std::string key(code.begin(), code.end());
    absl::MutexLock lock(&mutex_);
    auto [entry, added] = known_.try_emplace(std::move(key), nullptr);
    if (!added) return entry->second;
    size_t start = (used_ + kAlignment - 1) / kAlignment * kAlignment;
    if (!write_ || start + code.size() > kSize) return nullptr;
    std::memcpy(write_ + start, code.data(), code.size());
    used_ = start + code.size();
    return entry->second = execute_ + start;
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, void*> known_ ABSL_GUARDED_BY(mutex_);
  uint8_t* write_ = nullptr;
  uint8_t* execute_ = nullptr;
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
};

CodeMemory& Memory() {
  static CodeMemory memory;
  return memory;
}

// push imm32 1f80; ldmxcsr [rsp]; pop rcx: the MXCSR that the ABI promises.
void AppendHostMxcsr(Code& code) {
  Append(code, {0x68, 0x80, 0x1f, 0x00, 0x00, 0x0f, 0xae, 0x14, 0x24, 0x59});
}

}  // namespace

// rdi destination, rsi source, rdx mxcsr, rcx guest RAX. Returns rax and rdx.
VectorCode VectorCodeFor(std::span<const uint8_t> instruction, bool source_in_register,
                         bool uses_mxcsr) {
  Code code;
  Append(code, {0x48, 0x89, 0xc8});                          // mov rax, rcx
  Append(code, {0x0f, 0x10, 0x07});                          // movups xmm0, [rdi]
  if (source_in_register) Append(code, {0x0f, 0x10, 0x0e});  // movups xmm1, [rsi]
  if (uses_mxcsr) Append(code, {0x0f, 0xae, 0x12});          // ldmxcsr [rdx]
  Append(code, instruction);
  if (uses_mxcsr) Append(code, {0x0f, 0xae, 0x1a});  // stmxcsr [rdx]
  Append(code, {0x9c, 0x5a});                        // pushfq; pop rdx
  Append(code, {0x0f, 0x11, 0x07});                  // movups [rdi], xmm0
  if (uses_mxcsr) AppendHostMxcsr(code);
  Append(code, {0xc3});
  return reinterpret_cast<VectorCode>(Memory().Find(code));
}

// rdi state, rsi memory, rdx guest RAX, rcx guest RFLAGS. Returns rax and rdx.
FullCode FullCodeFor(std::span<const uint8_t> instruction, bool takes_flags) {
  Code code;
  Append(code, {0x48, 0x0f, 0xae, 0x0f});       // fxrstor64 [rdi]
  Append(code, {0x48, 0x89, 0xd0});             // mov rax, rdx
  if (takes_flags) Append(code, {0x51, 0x9d});  // push rcx; popfq
  Append(code, instruction);
  Append(code, {0x9c, 0x5a});              // pushfq; pop rdx
  Append(code, {0x48, 0x0f, 0xae, 0x07});  // fxsave64 [rdi]
  Append(code, {0xdb, 0xe3});              // fninit
  AppendHostMxcsr(code);
  Append(code, {0xc3});
  return reinterpret_cast<FullCode>(Memory().Find(code));
}

}  // namespace trapline::engine::soft
