// SPDX-License-Identifier: Apache-2.0
// Guest memory as instruction handlers use it: Cpu::Load, Store, ReadModifyWrite, AtomicRmw.
#pragma once

#include "core/engine/soft/cpu.h"  // IWYU pragma: export
