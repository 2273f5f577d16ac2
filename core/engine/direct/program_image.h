// SPDX-License-Identifier: Apache-2.0
// The guest process's program (program/) as it is part of this one: an ELF file in memory.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "core/engine/engine.h"

namespace trapline::engine::direct {

std::span<const std::byte> ProgramImage();

// Where linked calls come in, to the jump back to the guest, with the names of all the program's
// code (entry.S). Nothing: the image was stripped of its symbols.
std::optional<Trampoline> LinkedEntry();

}  // namespace trapline::engine::direct
