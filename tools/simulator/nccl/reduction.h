#pragma once
#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sim::nccl {

enum class Operator : std::uint32_t { sum, prod, max, min, average, scaled_sum };

std::size_t size_of(ncclDataType_t type);
bool is_known(ncclDataType_t type);
std::string_view name_of(ncclDataType_t type);  // "float32"
std::string_view name_of(Operator op);          // "sum"

/// result[i] = inputs[0][i] op inputs[1][i] op …, in the order of the ranks, whatever the number of processes and the size of
/// the message: the same bits in every run and on every rank.
/// - float16, bfloat16 and float8 are accumulated in float32 and rounded once, to nearest even (float8: saturating);
///   float32 and float64 in their own precision; integers wrap.
/// - average: floating-point inputs are multiplied by 1/ranks (rounded to the precision of accumulation) before they are added;
/// integers are
///   added, then divided toward zero.
/// - scaled_sum: rank r's inputs are multiplied by scalars[r] (a value of the type, in the low bytes) before they are added.
/// - max, min: a NaN loses against a number.
/// `result` may be one of the inputs.
void reduce(ncclDataType_t type, Operator op, std::span<const std::byte* const> inputs, std::span<const std::uint64_t> scalars,
            std::byte* result, std::size_t count);

}  // namespace sim::nccl
