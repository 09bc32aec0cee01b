#include "nccl/reduction.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "error.h"
#include "nccl/small_floats.h"

namespace sim::nccl {
namespace {

constexpr std::size_t kBlock = 1024;  // elements that are accumulated at a time, in the first-level cache

template <class T>
struct Format {  // integers and floats that are accumulated as they are
  using Wide = T;
  static T widen(T x) { return x; }
  static T narrow(T x) { return x; }
};
template <class T>
requires requires(T t) { T::widen(t); }
struct Format<T> {
  using Wide = float;
  static float widen(T x) { return T::widen(x); }
  static T narrow(float x) { return T::narrow(x); }
};

// Signed integers wrap like unsigned ones, and are computed as those, wide enough that narrow ones are not promoted to a signed
// type.
template <class T>
auto modular(T x) {
  if constexpr (!std::is_integral_v<T>) {
    return x;
  } else if constexpr (sizeof(T) < 4) {
    return static_cast<std::uint32_t>(x);
  } else {
    return static_cast<std::make_unsigned_t<T>>(x);
  }
}

template <Operator op, class T>
T combine(T a, T b) {
  if constexpr (op == Operator::prod) return static_cast<T>(modular(a) * modular(b));
  if constexpr (op == Operator::max) return b > a || a != a ? b : a;
  if constexpr (op == Operator::min) return b < a || a != a ? b : a;
  return static_cast<T>(modular(a) + modular(b));
}

template <class T, Operator op>
void reduce_as(std::span<const std::byte* const> inputs, std::span<const std::uint64_t> scalars, std::byte* result,
               std::size_t count) {
  using Wide = typename Format<T>::Wide;
  constexpr bool kFloating = std::is_floating_point_v<Wide>;
  constexpr bool kScaled = op == Operator::scaled_sum || (op == Operator::average && kFloating);
  std::array<Wide, kBlock> accumulator;
  for (std::size_t at = 0; at < count; at += kBlock) {
    const std::size_t n = std::min(kBlock, count - at);
    for (std::size_t r = 0; r < inputs.size(); ++r) {
      const auto* input = reinterpret_cast<const T*>(inputs[r]) + at;
      [[maybe_unused]] Wide scale{};
      if constexpr (op == Operator::scaled_sum) {
        T scalar;
        std::memcpy(&scalar, &scalars[r], sizeof scalar);
        scale = Format<T>::widen(scalar);
      } else if constexpr (kScaled) {
        scale = Wide{1} / static_cast<Wide>(inputs.size());
      }
      const auto value = [&](std::size_t i) {
        const Wide x = Format<T>::widen(input[i]);
        if constexpr (kScaled) {
          return static_cast<Wide>(modular(x) * modular(scale));
        } else {
          return x;
        }
      };
      if (r == 0) {
        for (std::size_t i = 0; i < n; ++i) accumulator[i] = value(i);
      } else {
        for (std::size_t i = 0; i < n; ++i) accumulator[i] = combine<op>(accumulator[i], value(i));
      }
    }
    if constexpr (op == Operator::average && !kFloating) {
      for (std::size_t i = 0; i < n; ++i) {
        // As wide as it takes for the number of ranks to fit.
        using Quotient = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
        accumulator[i] = static_cast<T>(static_cast<Quotient>(accumulator[i]) / static_cast<Quotient>(inputs.size()));
      }
    }
    auto* output = reinterpret_cast<T*>(result) + at;
    for (std::size_t i = 0; i < n; ++i) output[i] = Format<T>::narrow(accumulator[i]);
  }
}

template <class T>
void reduce_type(Operator op, std::span<const std::byte* const> inputs, std::span<const std::uint64_t> scalars,
                 std::byte* result, std::size_t count) {
  switch (op) {
    case Operator::sum:
      return reduce_as<T, Operator::sum>(inputs, scalars, result, count);
    case Operator::prod:
      return reduce_as<T, Operator::prod>(inputs, scalars, result, count);
    case Operator::max:
      return reduce_as<T, Operator::max>(inputs, scalars, result, count);
    case Operator::min:
      return reduce_as<T, Operator::min>(inputs, scalars, result, count);
    case Operator::average:
      return reduce_as<T, Operator::average>(inputs, scalars, result, count);
    case Operator::scaled_sum:
      return reduce_as<T, Operator::scaled_sum>(inputs, scalars, result, count);
  }
  throw Error("reduction {} is not simulated", static_cast<int>(op));
}

struct Type {
  std::string_view name;
  std::size_t size;
  decltype(&reduce_type<int>) reduce;
};

// In the order of ncclDataType_t.
constexpr std::array<Type, ncclNumTypes> kTypes = {{
    {"int8", 1, &reduce_type<std::int8_t>},
    {"uint8", 1, &reduce_type<std::uint8_t>},
    {"int32", 4, &reduce_type<std::int32_t>},
    {"uint32", 4, &reduce_type<std::uint32_t>},
    {"int64", 8, &reduce_type<std::int64_t>},
    {"uint64", 8, &reduce_type<std::uint64_t>},
    {"float16", 2, &reduce_type<Half>},
    {"float32", 4, &reduce_type<float>},
    {"float64", 8, &reduce_type<double>},
    {"bfloat16", 2, &reduce_type<Bfloat16>},
    {"float8e4m3", 1, &reduce_type<Float8<__NV_E4M3>>},
    {"float8e5m2", 1, &reduce_type<Float8<__NV_E5M2>>},
}};

}  // namespace

bool is_known(ncclDataType_t type) { return type >= 0 && type < ncclNumTypes; }
std::size_t size_of(ncclDataType_t type) { return kTypes.at(type).size; }
std::string_view name_of(ncclDataType_t type) { return is_known(type) ? kTypes[type].name : "unknown type"; }

std::string_view name_of(Operator op) {
  constexpr std::array<std::string_view, 6> kNames = {"sum", "prod", "max", "min", "avg", "premulsum"};
  return kNames.at(static_cast<std::size_t>(op));
}

void reduce(ncclDataType_t type, Operator op, std::span<const std::byte* const> inputs, std::span<const std::uint64_t> scalars,
            std::byte* result, std::size_t count) {
  kTypes.at(type).reduce(op, inputs, scalars, result, count);
}

}  // namespace sim::nccl
