#include "tests/kernel_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "kernels/operands.h"

namespace gannet::tests {
namespace {

using namespace kernels;

constexpr std::size_t guard = 256;  // bytes on either side; keeps the alignment

// Backend memory of `size` bytes between two guards.
class GuardedBuffer {
 public:
  GuardedBuffer(Backend& backend, std::size_t size, std::byte garbage)
      : backend_(backend),
        size_(size),
        garbage_(garbage),
        memory_(static_cast<std::byte*>(backend.allocate(size + 2 * guard))) {
    const std::vector<std::byte> all(size + 2 * guard, garbage);
    backend_.upload(memory_, all.data(), all.size());
  }
  ~GuardedBuffer() { backend_.release(memory_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  void* data() const { return memory_ + guard; }
  void write(const std::vector<std::byte>& bytes) { backend_.upload(data(), bytes.data(), bytes.size()); }
  std::vector<std::byte> read() const {
    std::vector<std::byte> bytes(size_);
    backend_.download(bytes.data(), data(), size_);
    return bytes;
  }
  bool intact() const {
    std::vector<std::byte> all(size_ + 2 * guard);
    backend_.download(all.data(), memory_, all.size());
    const auto untouched = [&](std::byte b) { return b == garbage_; };
    return std::all_of(all.begin(), all.begin() + guard, untouched) && std::all_of(all.end() - guard, all.end(), untouched);
  }

 private:
  Backend& backend_;
  std::size_t size_;
  std::byte garbage_;
  std::byte* memory_;
};

template <typename T>
void put(std::byte* memory, std::int64_t index, T value) {
  std::memcpy(memory + static_cast<std::size_t>(index) * sizeof(T), &value, sizeof(T));
}
template <typename T>
T get(const std::byte* memory, std::int64_t index) {
  T value;
  std::memcpy(&value, memory + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

// For each element in memory order, its row-major index.
std::vector<std::int64_t> memory_order(const TensorDesc& desc) {
  std::vector<std::int64_t> strides(static_cast<std::size_t>(desc.shape.rank()), 1);
  for (int d = desc.shape.rank() - 2; d >= 0; --d) {
    strides[static_cast<std::size_t>(d)] = strides[static_cast<std::size_t>(d) + 1] * desc.shape[d + 1];
  }
  std::vector<std::int64_t> order{0};
  for (const PhysicalAxis& axis : physical_axes(desc.shape, desc.layout)) {
    std::vector<std::int64_t> next;
    next.reserve(order.size() * static_cast<std::size_t>(axis.extent));
    for (const std::int64_t base : order) {
      for (std::int64_t i = 0; i < axis.extent; ++i) {
        next.push_back(base + i * axis.step * strides[static_cast<std::size_t>(axis.dim)]);
      }
    }
    order = std::move(next);
  }
  return order;
}

// The operands as this backend stores them.
TensorDesc as_stored(const Backend& backend, TensorDesc desc) {
  desc.type = backend.storage(desc.type);
  return desc;
}

}  // namespace

std::vector<std::byte> encode(const TensorDesc& desc, const std::vector<double>& values) {
  std::vector<std::byte> bytes(desc.bytes());
  std::int64_t at = 0;
  for (const std::int64_t index : memory_order(desc)) {
    const double value = values[static_cast<std::size_t>(index)];
    switch (desc.type) {
      case DType::f32:
        put(bytes.data(), at, static_cast<float>(value));
        break;
      case DType::f64:
        put(bytes.data(), at, value);
        break;
      case DType::i32:
        put(bytes.data(), at, static_cast<std::int32_t>(value));
        break;
      case DType::u8:
        put(bytes.data(), at, static_cast<std::uint8_t>(value));
        break;
      case DType::bf16: {
        const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(rounded(value, DType::bf16)));
        put(bytes.data(), at, static_cast<std::uint16_t>(bits >> 16));
        break;
      }
    }
    ++at;
  }
  return bytes;
}

std::vector<double> decode(const TensorDesc& desc, const std::vector<std::byte>& bytes) {
  std::vector<double> values(static_cast<std::size_t>(desc.elements()));
  std::int64_t at = 0;
  for (const std::int64_t index : memory_order(desc)) {
    double& value = values[static_cast<std::size_t>(index)];
    switch (desc.type) {
      case DType::f32:
        value = get<float>(bytes.data(), at);
        break;
      case DType::f64:
        value = get<double>(bytes.data(), at);
        break;
      case DType::i32:
        value = get<std::int32_t>(bytes.data(), at);
        break;
      case DType::u8:
        value = get<std::uint8_t>(bytes.data(), at);
        break;
      case DType::bf16:
        value = std::bit_cast<float>(std::uint32_t{get<std::uint16_t>(bytes.data(), at)} << 16);
        break;
    }
    ++at;
  }
  return values;
}

KernelRun run_kernel(Backend& backend, const Case& test, const std::vector<std::vector<double>>& inputs, bool in_place,
                     std::byte garbage) {
  return run_kernel(backend, *backend.create(test.spec), test, inputs, in_place, garbage);
}

KernelRun run_kernel(Backend& backend, Kernel& kernel, const Case& test, const std::vector<std::vector<double>>& inputs,
                     bool in_place, std::byte garbage) {
  const Operands operands = operands_of(test.spec);
  std::vector<std::unique_ptr<GuardedBuffer>> input_buffers, output_buffers;
  std::vector<const void*> input_pointers;
  std::vector<void*> output_pointers;
  std::vector<std::vector<std::byte>> given;
  for (std::size_t i = 0; i < operands.inputs.size(); ++i) {
    const TensorDesc desc = as_stored(backend, operands.inputs[i]);
    given.push_back(encode(desc, inputs[i]));
    input_buffers.push_back(std::make_unique<GuardedBuffer>(backend, desc.bytes(), garbage));
    input_buffers.back()->write(given.back());
    input_pointers.push_back(input_buffers.back()->data());
  }
  std::vector<bool> overwritten(operands.inputs.size(), false);
  std::vector<int> shared(operands.outputs.size(), -1);
  if (in_place) {
    for (const auto& [output, input] : test.in_place) {
      shared[static_cast<std::size_t>(output)] = input;
      overwritten[static_cast<std::size_t>(input)] = true;
    }
  }
  for (std::size_t o = 0; o < operands.outputs.size(); ++o) {
    const TensorDesc desc = as_stored(backend, operands.outputs[o]);
    output_buffers.push_back(std::make_unique<GuardedBuffer>(backend, desc.bytes(), garbage));
    const GuardedBuffer& buffer = shared[o] < 0 ? *output_buffers.back() : *input_buffers[static_cast<std::size_t>(shared[o])];
    output_pointers.push_back(buffer.data());
  }
  const GuardedBuffer workspace(backend, kernel.workspace_bytes(), garbage);

  kernel.run({input_pointers.data(), output_pointers.data(), workspace.data()});
  backend.synchronize();

  KernelRun result;
  for (std::size_t i = 0; i < operands.inputs.size(); ++i) {
    if (!input_buffers[i]->intact()) result.trespasses.push_back(fmt::format("wrote beside input {}", i));
    if (!overwritten[i] && input_buffers[i]->read() != given[i])
      result.trespasses.push_back(fmt::format("changed input {}", i));
  }
  for (std::size_t o = 0; o < operands.outputs.size(); ++o) {
    if (!output_buffers[o]->intact()) result.trespasses.push_back(fmt::format("wrote beside output {}", o));
    const GuardedBuffer& buffer = shared[o] < 0 ? *output_buffers[o] : *input_buffers[static_cast<std::size_t>(shared[o])];
    result.bytes.push_back(buffer.read());
    result.values.push_back(decode(as_stored(backend, operands.outputs[o]), result.bytes.back()));
  }
  if (!workspace.intact()) result.trespasses.push_back("wrote beside the workspace");
  return result;
}

}  // namespace gannet::tests
