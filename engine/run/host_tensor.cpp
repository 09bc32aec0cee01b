#include "engine/run/host_tensor.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/check.h"

namespace gannet {
namespace {

float read_as(DType type, const std::byte* at) {
  switch (type) {
    case DType::f32: {
      float value;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    case DType::f64: {
      double value;
      std::memcpy(&value, at, sizeof value);
      return static_cast<float>(value);
    }
    case DType::bf16: {
      std::uint16_t bits;
      std::memcpy(&bits, at, sizeof bits);
      return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    }
    case DType::i32: {
      std::int32_t value;
      std::memcpy(&value, at, sizeof value);
      return static_cast<float>(value);
    }
    case DType::u8:
      return static_cast<float>(std::to_integer<int>(*at));
  }
  return 0;
}

void write_as(DType type, std::byte* at, float value) {
  switch (type) {
    case DType::f32:
      std::memcpy(at, &value, sizeof value);
      break;
    case DType::f64: {
      const double wide = value;
      std::memcpy(at, &wide, sizeof wide);
      break;
    }
    case DType::bf16: {  // to nearest, ties to even; NaN stays NaN
      const auto bits = std::bit_cast<std::uint32_t>(value);
      const std::uint32_t rounded = std::isnan(value) ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
      const auto high = static_cast<std::uint16_t>(rounded >> 16);
      std::memcpy(at, &high, sizeof high);
      break;
    }
    case DType::i32: {
      const auto whole = static_cast<std::int32_t>(std::lrint(value));
      std::memcpy(at, &whole, sizeof whole);
      break;
    }
    case DType::u8:
      *at = static_cast<std::byte>(std::lrint(value));
      break;
  }
}

// Calls f(row-major index) for each element in memory order.
template <typename F>
void in_memory_order(const TensorDesc& desc, F f) {
  if (desc.layout == Layout::plain) {
    for (std::int64_t i = 0; i < desc.elements(); ++i) f(i);
    return;
  }
  const auto axes = physical_axes(desc.shape, desc.layout);
  std::array<std::int64_t, max_rank> stride{};
  std::int64_t product = 1;
  for (int d = desc.shape.rank() - 1; d >= 0; --d) {
    stride[static_cast<std::size_t>(d)] = product;
    product *= desc.shape[d];
  }
  std::array<std::int64_t, max_rank> at{};
  std::int64_t logical = 0;
  for (std::int64_t i = 0; i < desc.elements(); ++i) {
    f(logical);
    for (std::size_t a = axes.size(); a-- > 0;) {
      const std::int64_t step = axes[a].step * stride[static_cast<std::size_t>(axes[a].dim)];
      logical += step;
      if (++at[a] < axes[a].extent) break;
      logical -= step * axes[a].extent;
      at[a] = 0;
    }
  }
}

}  // namespace

std::size_t bytes_on(const TensorDesc& desc, const kernels::Backend& backend) {
  return static_cast<std::size_t>(desc.elements()) * size_of(backend.storage(desc.type));
}

void encode(const kernels::Backend& backend, const TensorDesc& desc, std::span<const float> values, void* bytes) {
  const DType type = backend.storage(desc.type);
  if (type == DType::f32 && desc.layout == Layout::plain) {
    std::memcpy(bytes, values.data(), values.size_bytes());
    return;
  }
  auto* at = static_cast<std::byte*>(bytes);
  in_memory_order(desc, [&](std::int64_t logical) {
    write_as(type, at, values[static_cast<std::size_t>(logical)]);
    at += size_of(type);
  });
}

void decode(const kernels::Backend& backend, const TensorDesc& desc, const void* bytes, std::span<float> values) {
  const DType type = backend.storage(desc.type);
  if (type == DType::f32 && desc.layout == Layout::plain) {
    std::memcpy(values.data(), bytes, values.size_bytes());
    return;
  }
  const auto* at = static_cast<const std::byte*>(bytes);
  in_memory_order(desc, [&](std::int64_t logical) {
    values[static_cast<std::size_t>(logical)] = read_as(type, at);
    at += size_of(type);
  });
}

void download(kernels::Backend& backend, const TensorDesc& desc, const void* device, std::span<float> values) {
  GANNET_CHECK(values.size() == static_cast<std::size_t>(desc.elements()), "{} has {} elements, not {}", to_string(desc),
               desc.elements(), values.size());
  if (backend.storage(desc.type) == DType::f32 && desc.layout == Layout::plain) {
    backend.download(values.data(), device, values.size_bytes());
    return;
  }
  std::vector<std::byte> bytes(bytes_on(desc, backend));
  backend.download(bytes.data(), device, bytes.size());
  decode(backend, desc, bytes.data(), values);
}

std::vector<float> download(kernels::Backend& backend, const TensorDesc& desc, const void* device) {
  std::vector<float> values(static_cast<std::size_t>(desc.elements()));
  download(backend, desc, device, values);
  return values;
}

void upload(kernels::Backend& backend, const TensorDesc& desc, void* device, std::span<const float> values) {
  if (backend.storage(desc.type) == DType::f32 && desc.layout == Layout::plain) {
    backend.upload(device, values.data(), values.size_bytes());
    return;
  }
  std::vector<std::byte> bytes(bytes_on(desc, backend));
  encode(backend, desc, values, bytes.data());
  backend.upload(device, bytes.data(), bytes.size());
}

}  // namespace gannet
