/* SPDX-License-Identifier: Apache-2.0 */
/* The example guests' runtime. */
#include "core/guest/guest.h"

enum { kSerial = 0x3f8, kDebugExit = 0xf4, kPm1Control = 0x604, kS5 = 5 << 10 | 1 << 13 };

#ifdef TRAPLINE_PARAVIRTUAL
void Print(const char *text) {
  uint64_t length = 0;
  while (text[length]) ++length;
  Hypercall(TRAPLINE_HC_CONSOLE_WRITE, (uint64_t)text, length, 0, 0);
}
#else
void Print(const char *text) {
  while (*text) Out8(kSerial, (uint8_t)*text++);
}
#endif

void PrintNumber(uint64_t value) {
  char digits[21];
  char *at = digits + sizeof digits;
  *--at = 0;
  do *--at = (char)('0' + value % 10);
  while (value /= 10);
  Print(at);
}

void PrintHex(uint64_t value) {
  char digits[17];
  char *at = digits + sizeof digits;
  *--at = 0;
  do *--at = "0123456789abcdef"[value & 15];
  while (value >>= 4);
  Print("0x");
  Print(at);
}

static const char *Behind(const char *text, const char *prefix) {
  while (*prefix && *text == *prefix) ++text, ++prefix;
  return *prefix ? 0 : text;
}

/* The text behind a word that begins so, or null. */
static const char *FindWord(const char *command_line, const char *prefix) {
  for (const char *at = command_line; *at; ++at) {
    if (at != command_line && at[-1] != ' ') continue;
    const char *behind = Behind(at, prefix);
    if (behind) return behind;
  }
  return 0;
}

uint64_t NumberOption(const char *command_line, const char *key, uint64_t fallback) {
  const char *at = FindWord(command_line, key);
  if (!at || *at++ != '=') return fallback;
  uint64_t value = 0;
  while (*at >= '0' && *at <= '9') value = value * 10 + (uint64_t)(*at++ - '0');
  return value;
}

int HasWord(const char *command_line, const char *word) {
  const char *behind = FindWord(command_line, word);
  return behind && (*behind == 0 || *behind == ' ');
}

void Exit(int status) {
  if (status == 0) Out16(kPm1Control, kS5);
  Out8(kDebugExit, (uint8_t)status);
  for (;;) __asm__ volatile("hlt");
}
