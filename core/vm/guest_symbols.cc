// SPDX-License-Identifier: Apache-2.0
// When to look for a kernel's symbols, and what has to hold before they are believed.
//
// A kernel is found by its trap handlers: the processor itself says where they are, so a table that
// has them elsewhere is another kernel's, or this one's before it was moved. Beyond that a table of
// the kernel's own is right, since the kernel moved it along. A file has to be of the same build:
// by its build ID, or by what the kernel exports, or by the kernel's own table.
#include "core/vm/guest_symbols.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/log.h"
#include "core/vm/kernel_match.h"
#include "core/vm/kernel_symbols.h"

namespace trapline::vm {
namespace {

constexpr int kRestPerSearch = 20;

}  // namespace

void GuestSymbols::Supply(std::string path, SymbolFile file) {
  path_ = std::move(path);
  file_ = std::move(file);
}

void GuestSymbols::Begin(std::vector<machine::Symbol> symbols, bool is_linux) {
  absl::MutexLock lock(&mutex_);
  state_ = symbols.empty() ? is_linux ? "none yet" : "none: the image has none"
                           : absl::StrCat(symbols.size(), ", the image's own");
  table_ = std::make_shared<SymbolTable>(std::move(symbols));
  ++revision_;
  ++boot_;
  wanted_ = is_linux;
  next_search_ = absl::InfinitePast();
}

std::string GuestSymbols::Find(uint64_t address, const Vcpus& vcpus) {
  // Addresses in the lower half are user space's.
  if (address >> 63) Locate(vcpus);
  return table()->Find(address);
}

std::shared_ptr<const SymbolTable> GuestSymbols::table() const {
  absl::MutexLock lock(&mutex_);
  return table_;
}

uint64_t GuestSymbols::revision() const {
  absl::MutexLock lock(&mutex_);
  return revision_;
}

std::string GuestSymbols::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

// Nobody waits for a search that somebody else has under way: it may wait for a vCPU whose thread
// asks here.
void GuestSymbols::Locate(const Vcpus& vcpus) {
  const absl::Time start = absl::Now();
  uint64_t boot;
  {
    absl::MutexLock lock(&mutex_);
    if (!wanted_ || searching_ || start < next_search_) return;
    searching_ = true;
    boot = boot_;
  }
  absl::StatusOr<Found> found = Look(vcpus);
  absl::MutexLock lock(&mutex_);
  searching_ = false;
  if (boot != boot_) return;
  const absl::Time end = absl::Now();
  next_search_ = end + kRestPerSearch * (end - start);
  if (found.ok()) {
    state_ = absl::StrCat(found->table.size(), ", ", found->from);
    table_ = std::make_shared<SymbolTable>(std::move(found->table));
    ++revision_;
    wanted_ = false;
    return;
  }
  std::string state = absl::StrCat("none: ", found.status().message());
  if (state == state_) return;
  state_ = std::move(state);
  // A kernel that has just begun is not set up yet; a file that does not fit never will.
  if (absl::IsFailedPrecondition(found.status()))
    base::Log(base::LogLevel::kWarning, absl::StrCat(name_, ": symbols: ", state_));
}

absl::StatusOr<GuestSymbols::Found> GuestSymbols::Look(const Vcpus& vcpus) const {
  absl::StatusOr<TrapHandlers> handlers = absl::UnavailableError("there is no vCPU to ask");
  vcpus([&](engine::Vcpu& vcpu) {
    handlers = ReadTrapHandlers(vcpu, memory_);
    return handlers.ok();
  });
  if (!handlers.ok()) return absl::UnavailableError(handlers.status().message());
  return file_ ? FromFile(*handlers) : FromMemory(*handlers);
}

std::optional<KernelTable> GuestSymbols::OwnTable(const TrapHandlers& handlers) const {
  return FindKernelSymbols(memory_, [&](const KernelTable& table) {
    auto slide = table.SlideTo(handlers);
    return slide.ok() && *slide == 0;
  });
}

absl::StatusOr<GuestSymbols::Found> GuestSymbols::FromMemory(const TrapHandlers& handlers) const {
  auto kallsyms = OwnTable(handlers);
  if (!kallsyms)
    return absl::UnavailableError("the guest's memory has no kallsyms of its kernel that we know");
  return Found{SymbolTable(kallsyms->Code(0)), "kallsyms in the guest's memory"};
}

absl::StatusOr<GuestSymbols::Found> GuestSymbols::FromFile(const TrapHandlers& handlers) const {
  auto slide = file_->table.SlideTo(handlers);
  // Early handlers are others.
  if (!slide.ok()) return absl::UnavailableError(slide.status().message());
  KernelReader read = [&](uint64_t linear, std::span<std::byte> bytes) {
    return memory_.Read(linear - handlers.linear_to_physical, bytes).ok();
  };
  absl::Status match = MatchBuildId(*file_, *slide, read);
  if (absl::IsUnavailable(match)) match = MatchExports(file_->table, *slide, read);
  if (absl::IsUnavailable(match)) {
    if (auto kallsyms = OwnTable(handlers)) match = MatchKallsyms(file_->table, *slide, *kallsyms);
  }
  if (absl::IsUnavailable(match)) {
    return absl::FailedPreconditionError(
        "nothing in the guest's memory tells whether the symbols are its kernel's: supply a "
        "vmlinux with a build ID");
  }
  if (!match.ok()) return match;
  return Found{SymbolTable(file_->table.Code(*slide)),
               absl::StrCat(path_, ", moved by 0x", absl::Hex(*slide))};
}

}  // namespace trapline::vm
