#include "core/engine/soft/decode/binding.h"
namespace trapline::engine::soft { std::span<const Binding> FpuBindings() { return {}; } }
