// SPDX-License-Identifier: Apache-2.0
// The only place where guest memory is touched by host address.
//
// Guests race on their memory as they please; that is theirs to answer for, so the thread sanitizer
// does not look here. Aligned accesses of up to eight bytes are single host accesses, as on
// hardware.
#pragma once

#include <cstdint>
#include <cstring>

namespace trapline::engine::soft {

#if defined(__SANITIZE_THREAD__)
#define TRAPLINE_GUEST_ACCESS __attribute__((no_sanitize("thread"), noinline))
#else
#define TRAPLINE_GUEST_ACCESS __attribute__((always_inline))
#endif

template <typename T>
TRAPLINE_GUEST_ACCESS inline T RawLoad(uint64_t host) {
  T value;
  __builtin_memcpy(&value, reinterpret_cast<const void*>(host), sizeof value);
  return value;
}

template <typename T>
TRAPLINE_GUEST_ACCESS inline void RawStore(uint64_t host, T value) {
  __builtin_memcpy(reinterpret_cast<void*>(host), &value, sizeof value);
}

// One locked compare-and-exchange, within a cache line. False: *expected is what was there.
template <typename T>
TRAPLINE_GUEST_ACCESS inline bool RawCompareExchange(uint64_t host, T* expected, T desired) {
  bool done;
  asm volatile("lock cmpxchg %[desired], %[memory]"
               : "=@ccz"(done), "+a"(*expected), [memory] "+m"(*reinterpret_cast<T*>(host))
               : [desired] "r"(desired)
               : "memory");
  return done;
}

__extension__ typedef unsigned __int128 Sixteen;

// The same on sixteen bytes; host is sixteen-byte aligned.
template <>
TRAPLINE_GUEST_ACCESS inline bool RawCompareExchange<Sixteen>(uint64_t host, Sixteen* expected,
                                                              Sixteen desired) {
  auto low = static_cast<uint64_t>(*expected), high = static_cast<uint64_t>(*expected >> 64);
  bool done;
  asm volatile("lock cmpxchg16b (%[memory])"
               : "=@ccz"(done), "+a"(low), "+d"(high)
               : [memory] "r"(host), "b"(static_cast<uint64_t>(desired)),
                 "c"(static_cast<uint64_t>(desired >> 64))
               : "memory");
  *expected = static_cast<Sixteen>(high) << 64 | low;
  return done;
}

}  // namespace trapline::engine::soft
