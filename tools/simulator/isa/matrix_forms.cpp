// The table of forms of mma: shapes and types of PTX ISA 9.0 for targets up to sm_90, and the arithmetic of each architecture.
#include <vector>

#include "error.h"
#include "isa/matrix.h"

namespace sim::matrix {
namespace {

struct ElementName {
  std::string_view name;
  Element element;
};
constexpr ElementName kElements[] = {
    {"f16", Element::f16}, {"bf16", Element::bf16}, {"tf32", Element::tf32}, {"e4m3", Element::e4m3}, {"e5m2", Element::e5m2},
    {"f64", Element::f64}, {"s8", Element::s8},     {"u8", Element::u8},     {"s4", Element::s4},     {"u4", Element::u4},
    {"b1", Element::b1},   {"f32", Element::f32},   {"s32", Element::s32}};

// Architectures whose arithmetic differs, by the first of each generation: Turing, Ampere, Ada, Hopper, Blackwell of data
// centres and of desktops.
constexpr int kGenerations[] = {75, 80, 89, 90, 100, 120};
int generation_of(int architecture) {
  int generation = 0;
  for (int first : kGenerations) {
    if (architecture >= first) generation = first;
  }
  return generation;
}

struct Entry {
  int generation;
  Form form;
};

class Table {
 public:
  Table() {
    using enum Element;
    for (int generation : kGenerations) {
      generation_ = generation;
      add_float("m8n8k4", 70, f32, f16, f32, 8, 8, 4);
      add_float("m8n8k4", 70, f32, f16, f16, 8, 8, 4);
      add_float("m8n8k4", 70, f16, f16, f16, 8, 8, 4);
      for (int k : {8, 16}) {
        const std::string_view shape = k == 8 ? "m16n8k8" : "m16n8k16";
        add_float(shape, k == 8 ? 75 : 80, f32, f16, f32, 16, 8, k);
        add_float(shape, k == 8 ? 75 : 80, f16, f16, f16, 16, 8, k);
        add_float(shape, 80, f32, bf16, f32, 16, 8, k);
      }
      add_float("m16n8k4", 80, f32, tf32, f32, 16, 8, 4);
      add_float("m16n8k8", 80, f32, tf32, f32, 16, 8, 8);
      for (Element result : {f32, f16}) {
        for (Element a : {e4m3, e5m2}) {
          for (Element b : {e4m3, e5m2}) {
            add_float("m16n8k16", 89, result, a, result, 16, 8, 16, b);
            add_float("m16n8k32", 89, result, a, result, 16, 8, 32, b);
          }
        }
      }
      add("m8n8k4", 80, f64, f64, f64, f64, 8, 8, 4, nullptr);
      add("m16n8k4", 90, f64, f64, f64, f64, 16, 8, 4, nullptr);
      add("m16n8k8", 90, f64, f64, f64, f64, 16, 8, 8, nullptr);
      add("m16n8k16", 90, f64, f64, f64, f64, 16, 8, 16, nullptr);
      for (Element a : {s8, u8}) {
        for (Element b : {s8, u8}) {
          add_integer("m8n8k16", 75, a, b, 8, 16);
          add_integer("m16n8k16", 80, a, b, 16, 16);
          add_integer("m16n8k32", 80, a, b, 16, 32);
        }
      }
      for (Element a : {s4, u4}) {
        for (Element b : {s4, u4}) {
          add_integer("m8n8k32", 75, a, b, 8, 32);
          add_integer("m16n8k32", 80, a, b, 16, 32);
          add_integer("m16n8k64", 80, a, b, 16, 64);
        }
      }
      for (bool exclusive_or : {true, false}) {
        add_bits("m8n8k128", exclusive_or ? 75 : 80, 8, 128, exclusive_or);
        add_bits("m16n8k128", 80, 16, 128, exclusive_or);
        add_bits("m16n8k256", 80, 16, 256, exclusive_or);
      }
    }
  }

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  Form& add(std::string_view shape, int architecture, Element d, Element a, Element b, Element c, int m, int n, int k,
            void (*multiply)(const Form&, Tile&)) {
    Form form;
    form.shape = shape;
    form.m = m;
    form.n = n;
    form.k = k;
    form.a = a;
    form.b = b;
    form.c = c;
    form.d = d;
    form.architecture = architecture;
    form.multiply = multiply;
    return entries_.emplace_back(Entry{generation_, form}).form;
  }

  void add_float(std::string_view shape, int architecture, Element d, Element a, Element c, int m, int n, int k) {
    add_float(shape, architecture, d, a, c, m, n, k, a);
  }

  void add_float(std::string_view shape, int architecture, Element d, Element a, Element c, int m, int n, int k, Element b) {
    Form& form = add(shape, architecture, d, a, b, c, m, n, k, multiply_float);
    FloatModel& model = form.model;
    model = float_model(generation_, a, d);
    if (per_word(a) == 4 && generation_ >= 90 && generation_ < 120) form.multiply = multiply_float8_as_half;
    // The one form of Volta keeps Volta's arithmetic on Turing.
    if (shape == "m8n8k4") model = {23, 4, static_cast<std::int16_t>(d == Element::f16 ? -19 : -131), model.rounding};
    if (form.multiply == multiply_float8_as_half) {
      model.group = static_cast<std::int16_t>(std::min<int>(k / 2, model.group));
    } else {
      model.group = static_cast<std::int16_t>(std::min<int>(k, model.group));
    }
  }

  void add_integer(std::string_view shape, int architecture, Element a, Element b, int m, int k) {
    for (bool saturate : {false, true}) {
      add(shape, architecture, Element::s32, a, b, Element::s32, m, 8, k, multiply_integer).saturate = saturate;
    }
  }

  void add_bits(std::string_view shape, int architecture, int m, int k, bool exclusive_or) {
    add(shape, architecture, Element::s32, Element::b1, Element::b1, Element::s32, m, 8, k, multiply_bits).exclusive_or =
        exclusive_or;
  }

  int generation_ = 0;
  std::vector<Entry> entries_;
};

bool element_named(std::string_view name, Element& element) {
  for (const ElementName& entry : kElements) {
    if (entry.name == name) {
      element = entry.element;
      return true;
    }
  }
  return false;
}

}  // namespace

FloatModel float_model(int architecture, Element multiplicand, Element result) {
  const bool half = result == Element::f16, float8 = per_word(multiplicand) == 4;
  FloatModel model;
  model.rounding = half ? FloatModel::Rounding::half_to_nearest : FloatModel::Rounding::single_toward_zero;
  const int bytes = architecture >= 90 ? 32 : 16;  // of a group of multiplicands
  model.fraction = architecture >= 90 ? 25 : 24;
  model.zero_exponent = static_cast<std::int16_t>((half ? -20 : -132) - (architecture >= 90 ? 1 : 0));
  if (float8 && architecture >= 89 && architecture < 90) {
    model.fraction = 13;
    if (!half) model.rounding = FloatModel::Rounding::fraction13_toward_zero;
  }
  const int size = multiplicand == Element::tf32 ? 4 : float8 ? 1 : 2;
  model.group = static_cast<std::int16_t>(bytes / size);
  if (float8 && architecture >= 90 && architecture < 120) model.group = 16;  // runs as f16
  return model;
}

const Form* find_form(std::string_view shape, std::string_view types, int architecture, bool saturate,
                      std::string_view operation) {
  static const Table table;
  Element elements[4];
  for (int n = 0; n < 4; ++n) {
    const std::size_t dot = types.find('.');
    if ((dot == std::string_view::npos) != (n == 3) || !element_named(types.substr(0, dot), elements[n])) return nullptr;
    types.remove_prefix(n == 3 ? types.size() : dot + 1);
  }
  const int generation = generation_of(architecture);
  for (const auto& [entry_generation, form] : table.entries()) {
    if (entry_generation != generation || form.shape != shape || form.d != elements[0] || form.a != elements[1] ||
        form.b != elements[2] || form.c != elements[3] || form.saturate != saturate) {
      continue;
    }
    if (form.a == Element::b1 ? operation != (form.exclusive_or ? "xor" : "and") : !operation.empty()) continue;
    return &form;
  }
  return nullptr;
}

}  // namespace sim::matrix
