// What mma and wmma share: the forms of a matrix multiply-accumulate, their arithmetic, and a tile of 16 x 8 results in memory.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "isa/decoder.h"
#include "isa/instruction.h"
#include "machine/warp.h"

namespace sim::matrix {

enum class Element : std::uint8_t { f16, bf16, tf32, e4m3, e5m2, f64, s8, u8, s4, u4, b1, f32, s32 };

/// An element's layout in bits; `infinity` is false for e4m3, which has one NaN (all ones) and no infinity.
struct Format {
  int exponent_bits, mantissa_bits, shift;  // tf32 is the upper 19 bits of a word: its low 13 are shifted out
  bool infinity;
  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
};
inline constexpr Format kHalf{5, 10, 0, true}, kBfloat{8, 7, 0, true}, kTensorFloat{8, 10, 13, true},
    kFloat8E4M3{4, 3, 0, false}, kFloat8E5M2{5, 2, 0, true}, kSingle{8, 23, 0, true};
constexpr const Format& format_of(Element element) {
  switch (element) {
    case Element::f16:
      return kHalf;
    case Element::bf16:
      return kBfloat;
    case Element::tf32:
      return kTensorFloat;
    case Element::e4m3:
      return kFloat8E4M3;
    case Element::e5m2:
      return kFloat8E5M2;
    default:
      return kSingle;
  }
}

/// How many elements lie side by side in a 32-bit register.
constexpr int per_word(Element element) {
  switch (element) {
    case Element::f16:
    case Element::bf16:
      return 2;
    case Element::e4m3:
    case Element::e5m2:
    case Element::s8:
    case Element::u8:
      return 4;
    case Element::s4:
    case Element::u4:
      return 8;
    case Element::b1:
      return 32;
    default:
      return 1;
  }
}

/// The truncated fused dot product of NVIDIA's tensor cores (Xie et al., "MMA-Sim", and earlier work by Fasi et al.): the exact
/// products of `group` pairs and the accumulator are aligned to the largest exponent, cut toward zero to `fraction` bits below
/// it, added exactly, rounded, and become the accumulator of the next group. The exponent of a product is the sum of its
/// factors' exponents, not normalised; a zero counts with exponent `zero_exponent`.
struct FloatModel {
  enum class Rounding : std::uint8_t { single_toward_zero, fraction13_toward_zero, half_to_nearest };
  std::int16_t fraction = 0, group = 0, zero_exponent = 0;
  Rounding rounding = Rounding::single_toward_zero;
};

/// A form of multiply-accumulate on an architecture. All are in one table that never changes, so instructions point into it.
struct Form {
  std::string_view shape;
  int m = 0, n = 0, k = 0;
  Element a{}, b{}, c{}, d{};
  int architecture = 0;  // lowest that has it
  FloatModel model;
  bool saturate = false, exclusive_or = false;
  void (*multiply)(const Form&, struct Tile&) = nullptr;
};

/// Operands of up to 16 x 8 x (8 words) in 32-bit words: word w of a row of A holds elements w * per_word and on, lowest bits
/// first, and likewise of a column of B. `c` holds one accumulator a word (f16 in the low half) by column, and takes the
/// results.
struct Tile {
  static constexpr int kRows = 16, kColumns = 8, kWords = 8;
  alignas(64) std::uint32_t a[kWords][kRows];
  alignas(64) std::uint32_t b[kWords][kColumns];
  alignas(64) std::uint32_t c[kColumns][kRows];
};

/// The arithmetic of a type of multiplicands and accumulators on an architecture; `group` and the rest as mmasim gives them.
FloatModel float_model(int architecture, Element multiplicand, Element result);

// The functions that Form::multiply may be. They compute all 16 x 8 results.
void multiply_float(const Form& form, Tile& tile);
bool multiply_moderate(const Form& form,
                       Tile& tile);  // a faster way for numbers that are neither special nor far from 1; else false
void multiply_float8_as_half(const Form& form,
                             Tile& tile);  // sm_90 and sm_100 have no fp8 mma: ptxas splits it into two of f16
void multiply_integer(const Form& form, Tile& tile);
void multiply_bits(const Form& form, Tile& tile);

/// One result, by plain integer arithmetic: the definition that multiply_float must meet, and its way out for infinities and
/// NaNs. `a` and `b` are `form.k` elements, `c` an accumulator, as bits.
std::uint32_t dot_product(const Form& form, const std::uint32_t* a, const std::uint32_t* b, std::uint32_t c);

/// m8n8k4 of f16 on sm_80 and later, where ptxas expands it into FFMA and FADD.
std::uint32_t dot_product_m8n8k4(const Form& form, const std::uint32_t* a, const std::uint32_t* b, std::uint32_t c);

float half_to_float(std::uint32_t bits);
std::uint32_t float_to_half(float value);  // to nearest even; a NaN is 0x7fff

/// The forms of mma; null when there is none. `types` are d, a, b, c as written ("f32.bf16.bf16.f32").
const Form* find_form(std::string_view shape, std::string_view types, int architecture, bool saturate,
                      std::string_view operation);

/// Decode functions with the architecture given (in the table of opcodes it is options().architecture).
bool decode_mma(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture);
bool decode_wmma(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture);

/// The lanes of a register, lane 4 * g + t, to and from four runs of eight: run t is at `runs + t * stride`.
void split_quads(const std::uint32_t* lanes, std::uint32_t* runs, int stride);
void join_quads(std::uint32_t* lanes, const std::uint32_t* runs, int stride);

/// Writes the lanes of `mask`.
void write_lanes(std::uint32_t* to, const std::uint32_t* from, Mask mask);

/// Fragments to and from a tile. `a`, `b`, `c`, `d` are the registers that hold one operand of `form`; accumulators are of type
/// `element`, which for wmma need not be the form's.
void read_operands(const Warp& warp, const Form& form, const Location* a, const Location* b, Tile& tile);
void read_accumulators(const Warp& warp, const Form& form, Element element, const Location* c, Tile& tile);
void write_results(const Warp& warp, const Form& form, Element element, const Location* d, Tile& tile);

/// Registers of each fragment of a form; an f16 accumulator's hold two elements each.
struct Counts {
  int a, b, c, d;
};
Counts counts_of(const Form& form);

/// Form of an instruction, and mma of f64: list holds the registers of d, a, b, c.
inline const Form& form_of(const Instruction& in) {
  return *reinterpret_cast<const Form*>(static_cast<std::intptr_t>(in.immediate));
}
void run_double(Warp& warp, const Instruction& in);

/// The registers of a vector operand, added to `list`; fails when they are not `count`.
void add_registers(const ptx::Instruction& in, Decoder& decoder, const ptx::Operand& operand, int count, Width width,
                   bool written, std::vector<Location>& list);

/// Matrix instructions are made for whole warps: reports it when lanes are missing.
void check_lanes(const Warp& warp, const Instruction& in);

}  // namespace sim::matrix
