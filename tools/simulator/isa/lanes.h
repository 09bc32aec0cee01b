// Arithmetic on the 32 lanes of a warp. A handler is a template over a function of one lane; with all lanes active it is one
// loop without branches, else the results are blended into the destination, so that inactive lanes keep their values.
#pragma once
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "isa/instruction.h"
#include "machine/warp.h"

namespace sim {

namespace lanes_detail {
template <class T>
constexpr auto lane_bits() {
  std::array<T, kLanes> bits{};
  for (std::size_t lane = 0; lane < kLanes; ++lane) bits[lane] = static_cast<T>(std::uint32_t{1} << (lane % (sizeof(T) * 8)));
  return bits;
}
/// Lane l has bit l, of 16 bits lane 16 + l too.
template <class T>
alignas(64) inline constexpr auto kLaneBits = lane_bits<T>();
}  // namespace lanes_detail

/// The unsigned type that a lane is stored as: registers hold bits, signed values are a view of them.
template <class T>
using Bits = std::make_unsigned_t<T>;

/// on[l] = all ones where mask has lane l, else 0.
[[gnu::always_inline]] inline void expand_mask(Mask mask, std::uint16_t* on) {
#ifdef __AVX512BW__
  _mm512_storeu_si512(on, _mm512_movm_epi16(mask));
#else
  for (int half = 0; half < 2; ++half) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes_detail::kLaneBits<std::uint16_t>.data()));
    const __m256i part = _mm256_set1_epi16(static_cast<std::int16_t>(mask >> 16 * half));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(on + 16 * half), _mm256_cmpeq_epi16(_mm256_and_si256(part, bits), bits));
  }
#endif
}

/// out[l] = mask has l ? yes(l) : no(l), for unsigned T of 16, 32 or 64 bits.
template <class T, class Yes, class No>
[[gnu::always_inline]] inline void select_lanes(Mask mask, T* out, Yes yes, No no) {
  if constexpr (sizeof(T) == 2) {
    alignas(64) T on[kLanes];
    expand_mask(mask, on);
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane)
      out[lane] = static_cast<T>((yes(lane) & on[lane]) | (no(lane) & static_cast<T>(~on[lane])));
  } else {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) {
      const T on = (mask & lanes_detail::kLaneBits<T>[lane]) != 0 ? ~T{0} : T{0};
      out[lane] = (yes(lane) & on) | (no(lane) & ~on);
    }
  }
}

/// Writes the active lanes of `from`.
template <class T>
[[gnu::always_inline]] inline void store_lanes(Mask mask, T* to, const T* from) {
  select_lanes<T>(
      mask, to, [=](int lane) { return from[lane]; }, [=](int lane) { return to[lane]; });
}

/// d[l] = f(l) for the active lanes. `f` may read d[l] and nothing else of d.
template <class T, class F>
[[gnu::always_inline]] inline void for_lanes(Mask mask, T* d, F f) {
  if (mask == kAllLanes) [[likely]] {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) d[lane] = static_cast<T>(f(lane));
  } else {
    alignas(64) T result[kLanes];
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) result[lane] = static_cast<T>(f(lane));
    store_lanes(mask, d, result);
  }
}

/// The lanes whose flag has its top bit set.
inline Mask mask_of(const std::uint16_t* flags) {
  Mask mask = 0;
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(flags));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(flags + 16));
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
  mask = static_cast<Mask>(_mm256_movemask_epi8(bytes));
  return mask;
}
inline Mask mask_of(const std::uint32_t* flags) {
  Mask mask = 0;
  for (int n = 0; n < 4; ++n) {
    mask |= static_cast<Mask>(_mm256_movemask_ps(_mm256_loadu_ps(reinterpret_cast<const float*>(flags + 8 * n)))) << (8 * n);
  }
  return mask;
}
inline Mask mask_of(const std::uint64_t* flags) {
  Mask mask = 0;
  for (int n = 0; n < 8; ++n) {
    mask |= static_cast<Mask>(_mm256_movemask_pd(_mm256_loadu_pd(reinterpret_cast<const double*>(flags + 4 * n)))) << (4 * n);
  }
  return mask;
}

/// The lanes for which f(l) is true; T is the width of what it compares.
template <class T, class F>
[[gnu::always_inline]] inline Mask lanes_where(F f) {
  alignas(64) T flags[kLanes];
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) flags[lane] = f(lane) ? static_cast<T>(~T{0}) : T{0};
  return mask_of(flags);
}

/// Writes the active lanes of a predicate.
[[gnu::always_inline]] inline void store_predicate(Mask active, Mask* to, Mask value) {
  *to = (*to & ~active) | (value & active);
}

namespace lanes_detail {
template <class F>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
  template <R (*F)(A...), std::size_t... N>
  static void run(Warp& w, const Instruction& in, std::index_sequence<N...>) {
    const Location locations[] = {in.a, in.b, in.c, in.e};
    [&](const Bits<A>*... operands) __attribute__((always_inline)) {
      for_lanes(w.mask, w.at<Bits<R>>(in.d),
                [=](int lane) { return static_cast<Bits<R>>(F(static_cast<A>(operands[lane])...)); });
    }
    (w.at<Bits<A>>(locations[N])...);
  }
};
}  // namespace lanes_detail

/// The handler that applies a function of one lane to the operands a, b, c, e; its parameter types are theirs, its result type
/// is d's.
template <auto F>
void lanewise(Warp& w, const Instruction& in) {
  using S = lanes_detail::Signature<decltype(F)>;
  []<class R, class... A>(Warp& warp, const Instruction& instruction, R (*)(A...)) {
    S::template run<F>(warp, instruction, std::index_sequence_for<A...>());
  }(w, in, F);
}

}  // namespace sim
