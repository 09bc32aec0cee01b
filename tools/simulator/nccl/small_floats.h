#pragma once
// Conversions between float32 and narrower formats, without branches so that loops over them are vectorised.
#include <cuda_fp8.h>

#include <bit>
#include <cstdint>

namespace sim::nccl {

struct Half {
  std::uint16_t bits;
  static float widen(Half h) {
    const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(h.bits & 0x7fff) << 13;
    // Exponents are moved by a multiplication with 2^112, which makes subnormals normal; infinity and NaN keep the largest
    // exponent.
    const std::uint32_t scaled = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    const std::uint32_t special = magnitude | 0x7f800000;
    return std::bit_cast<float>(sign | (magnitude >= 0x0f800000 ? special : scaled));
  }
  static Half narrow(float f) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t sign = (bits >> 16) & 0x8000;
    const std::uint32_t magnitude = bits & 0x7fffffff;
    // Rounds to nearest even: normal results by an integer addition that carries into the exponent, subnormal ones by adding
    // 0.5, whose unit in the last place is the smallest half.
    const std::uint32_t normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
    std::uint32_t result = magnitude < 0x38800000 ? subnormal : normal;
    result = magnitude >= 0x477ff000 ? 0x7c00 : result;
    result = magnitude > 0x7f800000 ? 0x7fff : result;
    return {static_cast<std::uint16_t>(magnitude > 0x7f800000 ? 0x7fff : (sign | result))};
  }
};

struct Bfloat16 {
  std::uint16_t bits;
  static float widen(Bfloat16 b) { return std::bit_cast<float>(static_cast<std::uint32_t>(b.bits) << 16); }
  static Bfloat16 narrow(float f) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return {static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded)};
  }
};

template <__nv_fp8_interpretation_t format>
struct Float8 {
  std::uint8_t bits;
  static float widen(Float8 f) { return Half::widen({__half_raw(__nv_cvt_fp8_to_halfraw(f.bits, format)).x}); }
  static Float8 narrow(float f) { return {__nv_cvt_float_to_fp8(f, __NV_SATFINITE, format)}; }
};

}  // namespace sim::nccl
