// SPDX-License-Identifier: Apache-2.0
// MOVS, STOS, LODS, SCAS and CMPS, alone and repeated (SDM volume 2, REP; volume 1,
// section 7.3.9.3).
//
// A repeated instruction may fault or be interrupted between any two of its elements. Registers are
// therefore brought up to date after each step and before anything that may throw: a fault then
// finds them as the elements done left them, with RIP still at the instruction, and running it
// again goes on from there. Where the vCPU is wanted elsewhere (an interrupt, a kick) the handler
// stops after a step and has the same Op run again later.
//
// Upwards in 64-bit mode, MOVS and STOS do as much of a page at a time as both operands have,
// through host pointers and with the host's own REP MOVS and REP STOS: element by element as the
// guest asked for, so that overlapping operands come out as they must, and at the host's speed.
#include <algorithm>
#include <type_traits>

#include "core/engine/soft/interp/access.h"
#include "core/x86/paging.h"

namespace trapline::engine::soft {
namespace {

namespace f = x86::rflags;

constexpr uint8_t kSi = SlotOffset(x86::kRsi);
constexpr uint8_t kDi = SlotOffset(x86::kRdi);
constexpr uint8_t kCx = SlotOffset(x86::kRcx);

enum class Repeat : uint8_t { kOnce, kRep, kWhileEqual, kWhileNotEqual };

// A is the unsigned integer of the address size. Only 64-bit addresses in 64-bit mode do without
// segments.
template <typename A, bool kFlat>
struct Pointers {
  static uint64_t Source(Cpu& cpu, const Op* op, unsigned size) {
    if constexpr (kFlat) return cpu.r[x86::kRsi] + cpu.Get<uint64_t>(op->segment_base);
    return ReadAddressIn(cpu, op->segment, cpu.Get<A>(kSi), size);
  }
  static uint64_t Target(Cpu& cpu, unsigned size, bool write) {
    if constexpr (kFlat) return cpu.r[x86::kRdi];
    return write ? WriteAddressIn(cpu, x86::kEs, cpu.Get<A>(kDi), size)
                 : ReadAddressIn(cpu, x86::kEs, cpu.Get<A>(kDi), size);
  }
  static A Count(Cpu& cpu) { return cpu.Get<A>(kCx); }
  static void SetCount(Cpu& cpu, A count) { cpu.Set<A>(kCx, count); }
  static void Move(Cpu& cpu, uint8_t pointer, uint64_t bytes) {
    cpu.Set<A>(pointer, static_cast<A>(cpu.Get<A>(pointer) + bytes));
  }
};

// What one element moves the pointers by.
template <typename T>
uint64_t Step(const Cpu& cpu) {
  return cpu.rflags_rest & f::kDf ? -uint64_t{sizeof(T)} : sizeof(T);
}

// True where a repetition has to stop here with elements left: TF traps after each of them.
bool MustPause(const Cpu& cpu) { return cpu.AttentionPending() || (cpu.rflags_rest & f::kTf); }

// --- One element each ---

template <typename T, typename P>
void MoveElement(Cpu& cpu, const Op* op) {
  T value = cpu.Load<T>(P::Source(cpu, op, sizeof(T)));
  cpu.Store<T>(P::Target(cpu, sizeof(T), true), value);
  uint64_t step = Step<T>(cpu);
  P::Move(cpu, kSi, step);
  P::Move(cpu, kDi, step);
}

template <typename T, typename P>
void StoreElement(Cpu& cpu, const Op*) {
  cpu.Store<T>(P::Target(cpu, sizeof(T), true), cpu.Get<T>(0));
  P::Move(cpu, kDi, Step<T>(cpu));
}

template <typename T, typename P>
void LoadElement(Cpu& cpu, const Op* op) {
  cpu.Set<T>(0, cpu.Load<T>(P::Source(cpu, op, sizeof(T))));
  P::Move(cpu, kSi, Step<T>(cpu));
}

// The two values that CMPS or SCAS compares. Flags are the caller's business.
template <typename T>
struct Compared {
  T a, b;
};

template <typename T, typename P>
Compared<T> CompareElement(Cpu& cpu, const Op* op) {
  T a = cpu.Load<T>(P::Source(cpu, op, sizeof(T)));
  T b = cpu.Load<T>(P::Target(cpu, sizeof(T), false));
  uint64_t step = Step<T>(cpu);
  P::Move(cpu, kSi, step);
  P::Move(cpu, kDi, step);
  return {a, b};
}

template <typename T, typename P>
Compared<T> ScanElement(Cpu& cpu, const Op*) {
  T b = cpu.Load<T>(P::Target(cpu, sizeof(T), false));
  P::Move(cpu, kDi, Step<T>(cpu));
  return {cpu.Get<T>(0), b};
}

// --- A stretch within one page ---

// Elements from linear up to the end of its page.
template <typename T>
uint64_t RoomInPage(uint64_t linear) {
  return (x86::kPageSize - (linear & x86::kPageMask)) / sizeof(T);
}

template <typename T>
void HostMove(std::byte* to, const std::byte* from, uint64_t count) {
  if constexpr (sizeof(T) == 1)
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 2)
    asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 4)
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 8)
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

template <typename T>
void HostFill(std::byte* to, T value, uint64_t count) {
  uint64_t a = value;
  if constexpr (sizeof(T) == 1)
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(a) : "memory");
  if constexpr (sizeof(T) == 2)
    asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(a) : "memory");
  if constexpr (sizeof(T) == 4)
    asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(a) : "memory");
  if constexpr (sizeof(T) == 8)
    asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(a) : "memory");
}

// Moves up to count elements at once; returns how many, 0 where it takes the single step instead:
// an element that spans pages, or memory that is not plain RAM.
template <typename T, typename P>
uint64_t MoveStretch(Cpu& cpu, const Op* op, uint64_t count) {
  uint64_t from = P::Source(cpu, op, sizeof(T)), to = P::Target(cpu, sizeof(T), true);
  count = std::min({count, RoomInPage<T>(from), RoomInPage<T>(to)});
  if (count == 0) return 0;
  uint64_t bytes = count * sizeof(T);
  const std::byte* source = cpu.HostForRead(from, bytes);
  if (source == nullptr) return 0;
  std::byte* target = cpu.HostForWrite(to, bytes);
  if (target == nullptr) return 0;
  HostMove<T>(target, source, count);
  cpu.NoteWrite(to, bytes);
  P::Move(cpu, kSi, bytes);
  P::Move(cpu, kDi, bytes);
  return count;
}

template <typename T, typename P>
uint64_t StoreStretch(Cpu& cpu, const Op*, uint64_t count) {
  uint64_t to = P::Target(cpu, sizeof(T), true);
  count = std::min(count, RoomInPage<T>(to));
  if (count == 0) return 0;
  uint64_t bytes = count * sizeof(T);
  std::byte* target = cpu.HostForWrite(to, bytes);
  if (target == nullptr) return 0;
  HostFill<T>(target, cpu.Get<T>(0), count);
  cpu.NoteWrite(to, bytes);
  P::Move(cpu, kDi, bytes);
  return count;
}

// --- Repetition ---

using Element = void (*)(Cpu&, const Op*);
using Stretch = uint64_t (*)(Cpu&, const Op*, uint64_t);

template <typename P, Repeat R, Element kElement, Stretch kStretch>
const Op* Run(Cpu& cpu, const Op* op) {
  if constexpr (R == Repeat::kOnce) {
    kElement(cpu, op);
    return cpu.Next(op);
  } else {
    auto count = P::Count(cpu);
    while (count != 0) {
      uint64_t done = 0;
      if constexpr (kStretch != nullptr) {
        if (!(cpu.rflags_rest & (f::kDf | f::kTf))) done = kStretch(cpu, op, count);
      }
      if (done == 0) {
        kElement(cpu, op);
        done = 1;
      }
      count = static_cast<decltype(count)>(count - done);
      P::SetCount(cpu, count);
      if (count != 0 && MustPause(cpu)) return cpu.Repeat(op);
    }
    return cpu.Next(op);
  }
}

// A fault leaves the flags of before the instruction, so those of an element are set once nothing
// can fault any more.
template <typename T, typename P, Repeat R, Compared<T> (*kElement)(Cpu&, const Op*)>
const Op* RunCompare(Cpu& cpu, const Op* op) {
  auto set_flags = [&cpu](Compared<T> c) {
    cpu.lazy.Set<T>(LazyFlags::Kind::kSub, c.a, c.b, static_cast<T>(c.a - c.b));
  };
  if constexpr (R == Repeat::kOnce) {
    set_flags(kElement(cpu, op));
  } else {
    auto count = P::Count(cpu);
    while (count != 0) {
      Compared<T> compared = kElement(cpu, op);
      P::SetCount(cpu, --count);
      bool equal = compared.a == compared.b;
      if (count == 0 || equal != (R == Repeat::kWhileEqual)) {
        set_flags(compared);
        break;
      }
      if (MustPause(cpu)) {
        set_flags(compared);
        return cpu.Repeat(op);
      }
    }
  }
  return cpu.Then(op);
}

// --- Binding ---

enum class Kind : uint8_t { kMove, kStore, kLoad, kCompare, kScan };

template <Kind K, typename T, typename P, Repeat R, bool kFlat>
Handler MovingHandler() {
  if constexpr (K == Kind::kMove) {
    return Run < P, R, MoveElement<T, P>, kFlat ? Stretch{MoveStretch<T, P>} : nullptr > ;
  } else if constexpr (K == Kind::kStore) {
    return Run < P, R, StoreElement<T, P>, kFlat ? Stretch{StoreStretch<T, P>} : nullptr > ;
  } else {
    return Run<P, R, LoadElement<T, P>, nullptr>;
  }
}

template <Kind K, typename T, typename A, bool kFlat>
Handler HandlerFor(const Op& op) {
  using P = Pointers<A, kFlat>;
  bool repeats = op.flags & (kOpRep | kOpRepne);
  if constexpr (K == Kind::kCompare || K == Kind::kScan) {
    constexpr auto kElement = K == Kind::kCompare ? CompareElement<T, P> : ScanElement<T, P>;
    if (!repeats) return RunCompare<T, P, Repeat::kOnce, kElement>;
    return op.flags & kOpRep ? RunCompare<T, P, Repeat::kWhileEqual, kElement>
                             : RunCompare<T, P, Repeat::kWhileNotEqual, kElement>;
  } else {
    return repeats ? MovingHandler<K, T, P, Repeat::kRep, kFlat>()
                   : MovingHandler<K, T, P, Repeat::kOnce, kFlat>();
  }
}

// The decoder filled in the first memory operand, which may be the one through ES; what matters
// here is the other's segment, the only one that a prefix changes.
void FindSourceSegment(const Instruction& instruction, Op& op) {
  op.segment = x86::kDs;
  op.segment_base = SlotOffset(kSlotZero);
  for (const ZydisDecodedOperand& operand : instruction.all) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (ZydisRegisterGetId(operand.mem.base) != x86::kRsi) continue;
    op.segment = static_cast<uint8_t>(operand.mem.segment - ZYDIS_REGISTER_ES);
  }
  if (instruction.context.code_size != 8) return;
  if (op.segment == x86::kFs) op.segment_base = SlotOffset(kSlotFsBase);
  if (op.segment == x86::kGs) op.segment_base = SlotOffset(kSlotGsBase);
}

template <Kind K, typename T>
bool BindString(const Instruction& instruction, Op& op) {
  if (instruction.info.meta.category != ZYDIS_CATEGORY_STRINGOP)
    return false;  // MOVSD, CMPSD of SSE2
  FindSourceSegment(instruction, op);
  bool flat = instruction.context.code_size == 8 && op.address_size == 8;
  return Install(op, ByWideSize(op.address_size, [&]<typename A>() -> Handler {
                   if constexpr (sizeof(A) == 8) {
                     return flat ? HandlerFor<K, T, A, true>(op) : nullptr;
                   } else {
                     return HandlerFor<K, T, A, false>(op);
                   }
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_MOVSB, BindString<Kind::kMove, uint8_t>},
    {ZYDIS_MNEMONIC_MOVSW, BindString<Kind::kMove, uint16_t>},
    {ZYDIS_MNEMONIC_MOVSD, BindString<Kind::kMove, uint32_t>},
    {ZYDIS_MNEMONIC_MOVSQ, BindString<Kind::kMove, uint64_t>},
    {ZYDIS_MNEMONIC_STOSB, BindString<Kind::kStore, uint8_t>},
    {ZYDIS_MNEMONIC_STOSW, BindString<Kind::kStore, uint16_t>},
    {ZYDIS_MNEMONIC_STOSD, BindString<Kind::kStore, uint32_t>},
    {ZYDIS_MNEMONIC_STOSQ, BindString<Kind::kStore, uint64_t>},
    {ZYDIS_MNEMONIC_LODSB, BindString<Kind::kLoad, uint8_t>},
    {ZYDIS_MNEMONIC_LODSW, BindString<Kind::kLoad, uint16_t>},
    {ZYDIS_MNEMONIC_LODSD, BindString<Kind::kLoad, uint32_t>},
    {ZYDIS_MNEMONIC_LODSQ, BindString<Kind::kLoad, uint64_t>},
    {ZYDIS_MNEMONIC_CMPSB, BindString<Kind::kCompare, uint8_t>},
    {ZYDIS_MNEMONIC_CMPSW, BindString<Kind::kCompare, uint16_t>},
    {ZYDIS_MNEMONIC_CMPSD, BindString<Kind::kCompare, uint32_t>},
    {ZYDIS_MNEMONIC_CMPSQ, BindString<Kind::kCompare, uint64_t>},
    {ZYDIS_MNEMONIC_SCASB, BindString<Kind::kScan, uint8_t>},
    {ZYDIS_MNEMONIC_SCASW, BindString<Kind::kScan, uint16_t>},
    {ZYDIS_MNEMONIC_SCASD, BindString<Kind::kScan, uint32_t>},
    {ZYDIS_MNEMONIC_SCASQ, BindString<Kind::kScan, uint64_t>},
};

}  // namespace

std::span<const Binding> StringBindings() { return kBindings; }

}  // namespace trapline::engine::soft
