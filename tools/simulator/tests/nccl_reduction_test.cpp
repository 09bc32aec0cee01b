// Reductions of the stand-in for NCCL: every type and operator against the toolkit's conversions and plain loops.
#include "nccl/reduction.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "nccl/small_floats.h"

namespace sim::nccl {
namespace {

TEST(NcclReduction, NarrowFormatsConvertAsTheToolkitDoes) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    const float half = __half2float(__half(__half_raw{b}));
    const float mine = Half::widen({b});
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(mine)) << bits;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(half), std::bit_cast<std::uint32_t>(mine)) << bits;
      EXPECT_EQ(Half::narrow(mine).bits, b);
    }
    const float wide = __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{b}));
    if (!std::isnan(wide)) {
      EXPECT_EQ(wide, Bfloat16::widen({b})) << bits;
      EXPECT_EQ(Bfloat16::narrow(wide).bits, b);
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 3'000'000; ++i) {
    std::uint32_t bits = random();
    if (i % 2 == 0) bits = (bits & 0x807fffff) | ((97 + random() % 50) << 23);  // around the range of float16
    if (i % 8 == 1) bits &= 0xffffe000 | (random() % 2 == 0 ? 0x1000 : 0);      // ties
    const float f = std::bit_cast<float>(bits);
    ASSERT_EQ(Half::narrow(f).bits, __half_raw(__float2half_rn(f)).x) << std::hexfloat << f;
    ASSERT_EQ(Bfloat16::narrow(f).bits, __nv_bfloat16_raw(__float2bfloat16_rn(f)).x) << std::hexfloat << f;
  }
}

template <class T>
T value(std::mt19937& random, ncclDataType_t) {
  return static_cast<T>(random());
}
template <>
float value(std::mt19937& random, ncclDataType_t) {
  return std::ldexp(static_cast<float>(random()) - 0x1p31f, static_cast<int>(random() % 20) - 40);
}
template <>
double value(std::mt19937& random, ncclDataType_t) {
  return std::ldexp(static_cast<double>(random()) - 0x1p31, static_cast<int>(random() % 20) - 40);
}

// The definition in reduction.h, written a second time without its blocks and templates over operators.
template <class T, class Wide, class Widen, class Narrow>
void check_type(ncclDataType_t type, Widen widen, Narrow narrow) {
  constexpr std::size_t kCount = 2500;  // not a multiple of a block
  constexpr int kRanks = 3;
  std::mt19937 random(static_cast<unsigned>(type) + 1);
  std::vector<std::vector<T>> data(kRanks, std::vector<T>(kCount));
  for (auto& rank : data) {
    for (T& x : rank) x = narrow(static_cast<Wide>(value<Wide>(random, type)));
  }
  std::vector<const std::byte*> inputs;
  for (const auto& rank : data) inputs.push_back(reinterpret_cast<const std::byte*>(rank.data()));
  std::vector<std::uint64_t> scalars(kRanks, 0);
  std::vector<T> scalar_values;
  for (int r = 0; r < kRanks; ++r) {
    scalar_values.push_back(narrow(static_cast<Wide>(r + 2)));
    std::memcpy(&scalars[static_cast<std::size_t>(r)], &scalar_values.back(), sizeof(T));
  }
  for (const Operator op :
       {Operator::sum, Operator::prod, Operator::max, Operator::min, Operator::average, Operator::scaled_sum}) {
    std::vector<T> result(kCount);
    reduce(type, op, inputs, scalars, reinterpret_cast<std::byte*>(result.data()), kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
      Wide expected{};
      for (std::size_t r = 0; r < kRanks; ++r) {
        Wide x = widen(data[r][i]);
        if (op == Operator::scaled_sum) x = static_cast<Wide>(x * widen(scalar_values[r]));
        if (op == Operator::average && std::is_floating_point_v<Wide>) x = static_cast<Wide>(x * (Wide{1} / Wide{kRanks}));
        if (r == 0) {
          expected = x;
        } else if (op == Operator::prod) {
          expected = static_cast<Wide>(expected * x);
        } else if (op == Operator::max) {
          expected = std::max(expected, x);
        } else if (op == Operator::min) {
          expected = std::min(expected, x);
        } else {
          expected = static_cast<Wide>(expected + x);
        }
      }
      if (op == Operator::average && !std::is_floating_point_v<Wide>) expected = static_cast<Wide>(expected / Wide{kRanks});
      const T rounded = narrow(expected);
      ASSERT_EQ(std::memcmp(&rounded, &result[i], sizeof(T)), 0) << name_of(type) << " " << name_of(op) << " element " << i;
    }
  }
}

TEST(NcclReduction, EveryTypeAndOperatorInRankOrder) {
  const auto same = [](auto x) { return x; };
  // Wrapping of signed integers is that of unsigned ones, so the reference may compute with those where the sign does not
  // matter; small values here.
  check_type<std::uint8_t, std::uint8_t>(ncclUint8, same, same);
  check_type<std::int8_t, std::int8_t>(ncclInt8, same, same);
  check_type<std::uint32_t, std::uint32_t>(ncclUint32, same, same);
  check_type<std::uint64_t, std::uint64_t>(ncclUint64, same, same);
  check_type<float, float>(ncclFloat32, same, same);
  check_type<double, double>(ncclFloat64, same, same);
  check_type<__half_raw, float>(
      ncclFloat16, [](__half_raw h) { return __half2float(__half(h)); },
      [](float f) { return __half_raw(__float2half_rn(f)); });
  check_type<__nv_bfloat16_raw, float>(
      ncclBfloat16, [](__nv_bfloat16_raw h) { return __bfloat162float(__nv_bfloat16(h)); },
      [](float f) { return __nv_bfloat16_raw(__float2bfloat16_rn(f)); });
  check_type<__nv_fp8_e4m3, float>(
      ncclFloat8e4m3, [](__nv_fp8_e4m3 x) { return static_cast<float>(x); }, [](float f) { return __nv_fp8_e4m3(f); });
  check_type<__nv_fp8_e5m2, float>(
      ncclFloat8e5m2, [](__nv_fp8_e5m2 x) { return static_cast<float>(x); }, [](float f) { return __nv_fp8_e5m2(f); });
}

TEST(NcclReduction, IntegersWrapAndDivideTowardZero) {
  const std::int32_t a[] = {std::numeric_limits<std::int32_t>::max(), -7, -1}, b[] = {1, 0, 0};
  const std::vector<const std::byte*> inputs = {reinterpret_cast<const std::byte*>(a), reinterpret_cast<const std::byte*>(b)};
  const std::vector<std::uint64_t> scalars(2);
  std::int32_t result[3];
  reduce(ncclInt32, Operator::sum, inputs, scalars, reinterpret_cast<std::byte*>(result), 3);
  EXPECT_EQ(result[0], std::numeric_limits<std::int32_t>::min());
  reduce(ncclInt32, Operator::average, inputs, scalars, reinterpret_cast<std::byte*>(result), 3);
  EXPECT_EQ(result[0], std::numeric_limits<std::int32_t>::min() / 2);
  EXPECT_EQ(result[1], -3);
  EXPECT_EQ(result[2], 0);
}

TEST(NcclReduction, NanLosesAgainstANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float a[] = {nan, 1, nan}, b[] = {2, nan, nan};
  const std::vector<const std::byte*> inputs = {reinterpret_cast<const std::byte*>(a), reinterpret_cast<const std::byte*>(b)};
  const std::vector<std::uint64_t> scalars(2);
  for (const Operator op : {Operator::max, Operator::min}) {
    float result[3];
    reduce(ncclFloat32, op, inputs, scalars, reinterpret_cast<std::byte*>(result), 3);
    EXPECT_EQ(result[0], 2);
    EXPECT_EQ(result[1], 1);
    EXPECT_TRUE(std::isnan(result[2]));
  }
}

}  // namespace
}  // namespace sim::nccl
