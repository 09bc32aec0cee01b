// A vector of fp32 numbers as wide as the machine's, and one of 32-bit words, for the sources in simd/. These are compiled
// once per vector set, with GANNET_VECTOR_SET naming the namespace; nothing in them may have external linkage outside of it
// (not even a std:: template), or the linker could take AVX-512 code for a function that runs everywhere.
//
// Float: width, Float(float), + - * /, < > and, in each of the files below:
//   load(p), store(p, x)                     from and to float, Bf16 (to nearest even), int32, uint8 (nearest even, saturated;
//                                            NaN gives 0); no alignment needed
//   load_partial(p, n), store_partial(p, x, n)  the first n < width; the others are 0, and not touched in memory
//   fma(a, b, c)                             a * b + c; rounded once where the machine has it
//   minimum(a, b), maximum(a, b)             b where either is NaN
//   select(mask, a, b), is_nan(x), first(n)  mask ? a : b; the first n lanes
//   absolute, square_root, nearest           to nearest even
//   scale(x, n)                              x * 2^n for whole n, rightly rounded down into the denormals
//   add_lanes(double* sums, x), sum_lanes(x) in double
//   store_interleaved(p, a, b, c, d)         see simd/random.cpp
// Word: 32 bits, unsigned, wrapping; what kernels/philox.h asks for, and load.
#pragma once

#include <cstdint>
#include <cstring>

#if !defined(GANNET_VECTOR_SET)
#error "SIMD sources are compiled by kernels/CMakeLists.txt, once per vector set"
#endif

namespace gannet::kernels::cpu {

struct Bf16 {
  std::uint16_t bits;
};

}  // namespace gannet::kernels::cpu

#if defined(__AVX512F__)
#include "kernels/cpu/simd_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/simd_avx2.h"
#else
#include "kernels/cpu/simd_baseline.h"
#endif

#if !defined(__AVX512F__)  // which has masks for this
namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

template <class T>
inline Float load_partial(const T* p, int n) {
  T lanes[Float::width] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(n) * sizeof(T));
  return load(lanes);
}

template <class T>
inline void store_partial(T* p, Float x, int n) {
  T lanes[Float::width];
  store(lanes, x);
  std::memcpy(p, lanes, static_cast<std::size_t>(n) * sizeof(T));
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
#endif
