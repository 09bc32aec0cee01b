#include <algorithm>
#include <array>

#include "ptx/module.h"

namespace sim::ptx {
namespace {

struct Named {
  Type type;
  std::string_view name;
  int bytes;
};
constexpr std::array named{
    Named{Type::none, "", 0},         Named{Type::pred, "pred", 0},     Named{Type::b8, "b8", 1},
    Named{Type::b16, "b16", 2},       Named{Type::b32, "b32", 4},       Named{Type::b64, "b64", 8},
    Named{Type::b128, "b128", 16},    Named{Type::u8, "u8", 1},         Named{Type::u16, "u16", 2},
    Named{Type::u32, "u32", 4},       Named{Type::u64, "u64", 8},       Named{Type::s8, "s8", 1},
    Named{Type::s16, "s16", 2},       Named{Type::s32, "s32", 4},       Named{Type::s64, "s64", 8},
    Named{Type::f16, "f16", 2},       Named{Type::f16x2, "f16x2", 4},   Named{Type::bf16, "bf16", 2},
    Named{Type::bf16x2, "bf16x2", 4}, Named{Type::tf32, "tf32", 4},     Named{Type::f32, "f32", 4},
    Named{Type::f64, "f64", 8},       Named{Type::u16x2, "u16x2", 4},   Named{Type::s16x2, "s16x2", 4},
    Named{Type::f32x2, "f32x2", 8},   Named{Type::e4m3, "e4m3", 1},     Named{Type::e5m2, "e5m2", 1},
    Named{Type::e4m3x2, "e4m3x2", 2}, Named{Type::e5m2x2, "e5m2x2", 2}, Named{Type::s4, "s4", 0},
    Named{Type::u4, "u4", 0},         Named{Type::b1, "b1", 0},
};
constexpr bool in_order() {
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (static_cast<std::size_t>(named[i].type) != i) return false;
  }
  return named.size() == static_cast<std::size_t>(Type::b1) + 1;
}
static_assert(in_order());

}  // namespace

int size_of(Type type) { return named[static_cast<std::size_t>(type)].bytes; }
std::string_view name_of(Type type) { return named[static_cast<std::size_t>(type)].name; }

Type type_named(std::string_view name) {
  const auto found = std::ranges::find(named, name, &Named::name);
  return found == named.end() ? Type::none : found->type;
}

bool Instruction::has(std::string_view modifier) const { return std::ranges::find(modifiers, modifier) != modifiers.end(); }

}  // namespace sim::ptx
