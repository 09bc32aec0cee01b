// Between the lanes of registers (side by side) and the bytes of each lane in memory (its elements side by side).
#pragma once
#include <immintrin.h>

#include <bit>
#include <cstring>
#include <type_traits>

#include "isa/instruction.h"
#include "machine/warp.h"

namespace sim::access {

template <unsigned bytes>
using Unsigned = std::conditional_t<
    bytes == 1, std::uint8_t,
    std::conditional_t<bytes == 2, std::uint16_t, std::conditional_t<bytes == 4, std::uint32_t, std::uint64_t>>>;

/// An element in memory of `memory` bytes, a register of `reg` bytes a lane, `count` of them.
template <unsigned memory, unsigned reg, unsigned count>
struct Form {
  static constexpr unsigned kBytes = memory * count;
  static Location location(const Instruction& in, unsigned n) {
    if constexpr (count == 1) return in.d;
    return in.list[n];
  }
};

// Four words of eight lanes: rows become columns, in each half.
inline void transpose(__m256i (&r)[4]) {
  const __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpackhi_epi32(r[0], r[1]);
  const __m256i c = _mm256_unpacklo_epi32(r[2], r[3]), d = _mm256_unpackhi_epi32(r[2], r[3]);
  r[0] = _mm256_unpacklo_epi64(a, c);
  r[1] = _mm256_unpackhi_epi64(a, c);
  r[2] = _mm256_unpacklo_epi64(b, d);
  r[3] = _mm256_unpackhi_epi64(b, d);
}

/// d[l] = what pointer[l] points to, for the active lanes. Gathered, so that who reads d next need not wait for 32 stores.
inline void gather(Mask mask, std::uint32_t* d, const std::uint64_t* pointer) {
  for (int first = 0; first < kLanes; first += 8) {
#ifdef __AVX512F__
    const auto part = static_cast<__mmask8>(mask >> first);
    const __m512i index = _mm512_load_si512(pointer + first);
    const __m256i old = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(d + first));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(d + first), _mm512_mask_i64gather_epi32(old, part, index, nullptr, 1));
#else
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i part = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask >> first)), bit), bit);
    for (int half = 0; half < 2; ++half) {
      const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(pointer + first + 4 * half));
      auto* const to = reinterpret_cast<__m128i*>(d + first + 4 * half);
      const __m128i on = half == 0 ? _mm256_castsi256_si128(part) : _mm256_extracti128_si256(part, 1);
      _mm_storeu_si128(to, _mm256_mask_i64gather_epi32(_mm_loadu_si128(to), static_cast<const int*>(nullptr), index, on, 1));
    }
#endif
  }
}
inline void gather(Mask mask, std::uint64_t* d, const std::uint64_t* pointer) {
#ifdef __AVX512F__
  for (int first = 0; first < kLanes; first += 8) {
    const auto part = static_cast<__mmask8>(mask >> first);
    const __m512i index = _mm512_load_si512(pointer + first);
    _mm512_storeu_si512(d + first, _mm512_mask_i64gather_epi64(_mm512_loadu_si512(d + first), part, index, nullptr, 1));
  }
#else
  for (int first = 0; first < kLanes; first += 4) {
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i on =
        _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(static_cast<std::int64_t>(mask >> first)), bit), bit);
    const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(pointer + first));
    auto* const to = reinterpret_cast<__m256i*>(d + first);
    _mm256_storeu_si256(
        to, _mm256_mask_i64gather_epi64(_mm256_loadu_si256(to), static_cast<const long long*>(nullptr), index, on, 1));
  }
#endif
}

/// Loads what the active lanes' pointers (of lane l: pointer(l)) point to.
template <unsigned memory, unsigned reg, unsigned count, class Pointer>
inline void load_lanes(const Warp& warp, const Instruction& in, Pointer pointer) {
  using F = Form<memory, reg, count>;
  using M = Unsigned<memory>;
  using R = Unsigned<reg>;
  if constexpr (memory == 4 && reg == 4 && count == 4) {
    if (warp.mask == kAllLanes) {
      std::uint32_t* d[4];
      for (unsigned n = 0; n < 4; ++n) d[n] = warp.at<std::uint32_t>(in.list[n]);
      for (int first = 0; first < kLanes; first += 8) {
        __m256i r[4];
        for (int n = 0; n < 4; ++n) {
          r[n] = _mm256_set_m128i(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pointer(first + n + 4))),
                                  _mm_loadu_si128(reinterpret_cast<const __m128i*>(pointer(first + n))));
        }
        transpose(r);
        for (int n = 0; n < 4; ++n) _mm256_storeu_si256(reinterpret_cast<__m256i*>(d[n] + first), r[n]);
      }
      return;
    }
  }
  if constexpr (memory == reg && memory >= 4) {
    // The address may be in a register that is loaded.
    alignas(64) std::uint64_t pointers[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) pointers[lane] = reinterpret_cast<std::uint64_t>(pointer(lane));
    for (unsigned n = 0; n < count; ++n) {
      gather(warp.mask, warp.at<R>(F::location(in, n)), pointers);
      for (int lane = 0; lane < kLanes; ++lane) pointers[lane] += memory;
    }
    return;
  }
  auto one = [&](int lane) {
    M values[count];
    std::memcpy(values, pointer(lane), sizeof values);
    for (unsigned n = 0; n < count; ++n) {
      if constexpr (memory < reg) {
        using S = std::make_signed_t<M>;
        using Wide = std::make_signed_t<R>;
        warp.at<R>(F::location(in, n))[lane] =
            (in.flags & 2) != 0 ? static_cast<R>(static_cast<Wide>(static_cast<S>(values[n]))) : static_cast<R>(values[n]);
      } else {
        warp.at<R>(F::location(in, n))[lane] = values[n];
      }
    }
  };
  if (warp.mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) one(lane);
  } else {
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) one(std::countr_zero(rest));
  }
}

template <unsigned memory, unsigned reg, unsigned count, class Pointer>
inline void store_lanes(const Warp& warp, const Instruction& in, Pointer pointer) {
  using F = Form<memory, reg, count>;
  using M = Unsigned<memory>;
  using R = Unsigned<reg>;
  if constexpr (memory == 4 && reg == 4 && count == 4) {
    if (warp.mask == kAllLanes) {
      const std::uint32_t* s[4];
      for (unsigned n = 0; n < 4; ++n) s[n] = warp.at<std::uint32_t>(in.list[n]);
      for (int first = 0; first < kLanes; first += 8) {
        __m256i r[4];
        for (int n = 0; n < 4; ++n) r[n] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s[n] + first));
        transpose(r);
        // In the order of lanes: of several at one address the last wins.
        for (int n = 0; n < 4; ++n)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(pointer(first + n)), _mm256_castsi256_si128(r[n]));
        for (int n = 0; n < 4; ++n)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(pointer(first + n + 4)), _mm256_extracti128_si256(r[n], 1));
      }
      return;
    }
  }
  auto one = [&](int lane) {
    M values[count];
    for (unsigned n = 0; n < count; ++n) values[n] = static_cast<M>(warp.at<R>(F::location(in, n))[lane]);
    std::memcpy(pointer(lane), values, sizeof values);
  };
  if (warp.mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) one(lane);
  } else {
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) one(std::countr_zero(rest));
  }
}

/// The same for forms that are rare, with the sizes in Instruction::more.
struct AnyForm {
  unsigned memory, reg, count;
  static std::uint8_t packed(unsigned memory, unsigned reg, unsigned count) {
    return static_cast<std::uint8_t>(std::countr_zero(memory) | std::countr_zero(reg) << 2 | std::countr_zero(count) << 4);
  }
  static AnyForm of(const Instruction& in) { return {1u << (in.more & 3), 1u << (in.more >> 2 & 3), 1u << (in.more >> 4 & 3)}; }
  unsigned bytes() const { return memory * count; }
  Location location(const Instruction& in, unsigned n) const { return count == 1 ? in.d : in.list[n]; }
};

template <class Pointer>
void load_any(const Warp& warp, const Instruction& in, Pointer pointer) {
  const AnyForm form = AnyForm::of(in);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    std::byte values[32];
    std::memcpy(values, pointer(lane), form.bytes());
    for (unsigned n = 0; n < form.count; ++n) {
      std::uint64_t value = 0;
      std::memcpy(&value, values + n * form.memory, form.memory);
      const int unused = 64 - static_cast<int>(form.memory) * 8;
      if ((in.flags & 2) != 0) value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
      std::memcpy(warp.at<std::byte>(form.location(in, n)) + static_cast<unsigned>(lane) * form.reg, &value, form.reg);
    }
  }
}

template <class Pointer>
void store_any(const Warp& warp, const Instruction& in, Pointer pointer) {
  const AnyForm form = AnyForm::of(in);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    std::byte values[32];
    for (unsigned n = 0; n < form.count; ++n) {
      std::memcpy(values + n * form.memory, warp.at<std::byte>(form.location(in, n)) + static_cast<unsigned>(lane) * form.reg,
                  form.memory);
    }
    std::memcpy(pointer(lane), values, form.bytes());
  }
}

}  // namespace sim::access
