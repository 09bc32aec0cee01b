// Copies of boxes, with permutation, zeros around and change of type, and concatenation: one launch each, every element of the
// output written once. Limited by memory. Where rows stay rows, threads move packets; where they become columns, tiles turn in
// shared memory, so that both sides are read and written along their rows.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/cuda/copy_plan.h"
#include "kernels/cuda/division.h"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;

template <typename Out, typename In>
__device__ inline Out converted(In value) {
  if constexpr (std::is_same_v<In, Out>) {
    return value;
  } else {
    return narrowed<Out>(widened(value));
  }
}

struct Axis {
  Divider extent;
  std::uint32_t start, box;
  std::int32_t step;
};

struct Task {
  const void* input;
  void* output;
  std::uint32_t elements;  // of the output
  std::int32_t base;
  int axes;
  Axis axis[max_rank];  // outermost first
  // Of a transposition: the axis along which the input is contiguous, what a tile holds, how many tiles there are along both.
  int column_axis;
  std::uint32_t rows, columns, pitch;
  Divider divide_rows, divide_columns, row_tiles, column_tiles;
  std::uint32_t row_step;  // of the output: 1, the last axis
  std::uint32_t output_step[max_rank];
};

// Packets of N elements: the innermost axis counts packets.
template <typename In, typename Out, int N>
__global__ void __launch_bounds__(threads) copy_rows(const __grid_constant__ Task task) {
  const std::uint32_t first = (blockIdx.x * threads + threadIdx.x) * N;
  if (first >= task.elements) return;
  std::uint32_t rest = first / N;
  std::int32_t from = task.base;
  bool inside = true;
#pragma unroll 1
  for (int a = task.axes - 1; a >= 0; --a) {
    const Axis& axis = task.axis[a];
    const std::uint32_t outer = a > 0 ? axis.extent.divide(rest) : 0;
    const std::uint32_t at = a == task.axes - 1 ? rest * N : rest;
    inside = inside && at >= axis.start && at - axis.start < axis.box;
    from += static_cast<std::int32_t>(at) * axis.step;
    rest = outer;
  }
  const auto* input = static_cast<const In*>(task.input) + from;
  auto* output = static_cast<Out*>(task.output) + first;
  if (first + N > task.elements) {  // the end of a whole copy
    for (std::uint32_t i = 0; first + i < task.elements; ++i) output[i] = converted<Out>(input[i]);
    return;
  }
  Packet<Out, N> result;
  if (inside) {
    const auto packet = *reinterpret_cast<const Packet<In, N>*>(input);
#pragma unroll
    for (int i = 0; i < N; ++i) result.at[i] = converted<Out>(packet.at[i]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) result.at[i] = Out(0.0f);
  }
  *reinterpret_cast<Packet<Out, N>*>(output) = result;
}

// A tile a block: in along its columns, out along its rows.
template <typename In, typename Out>
__global__ void __launch_bounds__(threads) transpose(const __grid_constant__ Task task) {
  extern __shared__ std::uint32_t tile[];  // a word an element
  std::uint32_t index = blockIdx.x;
  const std::uint32_t row_tile = index;
  index = task.row_tiles.divide(index);
  const std::uint32_t first_row = (row_tile - index * task.row_tiles.divisor) * task.rows;
  const std::uint32_t column_tile = index;
  index = task.column_tiles.divide(index);
  const std::uint32_t first_column = (column_tile - index * task.column_tiles.divisor) * task.columns;
  // The other axes.
  std::int32_t from = task.base;
  std::uint32_t to = 0;
  bool inside = true;
  for (int a = task.axes - 2; a >= 0; --a) {
    if (a == task.column_axis) continue;
    const Axis& axis = task.axis[a];
    const std::uint32_t outer = axis.extent.divide(index);
    inside = inside && index >= axis.start && index - axis.start < axis.box;
    from += static_cast<std::int32_t>(index) * axis.step;
    to += index * task.output_step[a];
    index = outer;
  }
  const Axis& row_axis = task.axis[task.axes - 1];
  const Axis& column_axis = task.axis[task.column_axis];
  const std::uint32_t elements = task.rows * task.columns;
  for (std::uint32_t i = threadIdx.x; i < elements; i += threads) {
    std::uint32_t column = i;
    const std::uint32_t row = task.divide_columns.divide(column);
    const std::uint32_t r = first_row + row, c = first_column + column;
    const bool holds = inside && r >= row_axis.start && r - row_axis.start < row_axis.box && c >= column_axis.start &&
                       c - column_axis.start < column_axis.box;
    Out value = Out(0.0f);
    if (holds) {
      value = converted<Out>(static_cast<const In*>(
          task.input)[from + static_cast<std::int32_t>(r) * row_axis.step + static_cast<std::int32_t>(c)]);
    }
    reinterpret_cast<Out*>(tile + row * task.pitch + column)[0] = value;
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < elements; i += threads) {
    std::uint32_t row = i;
    const std::uint32_t column = task.divide_rows.divide(row);
    const std::uint32_t r = first_row + row, c = first_column + column;
    if (r >= row_axis.extent.divisor || c >= column_axis.extent.divisor) continue;
    static_cast<Out*>(task.output)[to + c * task.output_step[task.column_axis] + r] =
        reinterpret_cast<const Out*>(tile + row * task.pitch + column)[0];
  }
}

using CopyFunction = void (*)(Task);
struct Functions {
  CopyFunction packets, single, turned;
  int packet;
};
template <typename In, typename Out>
Functions functions() {
  constexpr int n = 16 / std::max(sizeof(In), sizeof(Out));
  return {copy_rows<In, Out, n>, copy_rows<In, Out, 1>, transpose<In, Out>, n};
}
Functions functions_for(const Copy& spec) {
  if (spec.input.type == DType::f32 && spec.output.type == DType::bf16) return functions<float, __nv_bfloat16>();
  if (spec.input.type == DType::bf16 && spec.output.type == DType::f32) return functions<__nv_bfloat16, float>();
  switch (size_of(spec.input.type)) {
    case 1:
      return functions<std::uint8_t, std::uint8_t>();
    case 2:
      return functions<std::uint16_t, std::uint16_t>();
    default:
      return functions<std::uint32_t, std::uint32_t>();
  }
}

class CopyKernel final : public Kernel {
 public:
  CopyKernel(const Copy& spec, const Device& device) : stream_(device.stream) {
    const CopyPlan plan(spec);
    const Functions functions = functions_for(spec);
    task_.elements = static_cast<std::uint32_t>(spec.output.elements());
    task_.base = static_cast<std::int32_t>(plan.base);
    task_.axes = static_cast<int>(plan.axes.size());
    std::int64_t output_step = 1;
    int column_axis = -1;
    for (int a = task_.axes - 1; a >= 0; --a) {
      const CopyAxis& axis = plan.axes[static_cast<std::size_t>(a)];
      task_.axis[a] = {Divider(static_cast<std::uint32_t>(axis.extent)), static_cast<std::uint32_t>(axis.start),
                       static_cast<std::uint32_t>(axis.box), static_cast<std::int32_t>(axis.step)};
      task_.output_step[a] = static_cast<std::uint32_t>(output_step);
      output_step *= axis.extent;
      if (axis.step == 1 && axis.extent > 1) column_axis = a;
    }
    const CopyAxis& inner = plan.axes.back();
    const bool turns = inner.step != 1 && column_axis >= 0;
    if (turns) {
      prepare_tiles(plan, column_axis);
      function_ = functions.turned;
      return;
    }
    int packet = 1;
    if (plan.whole() || plan.fits(functions.packet)) packet = functions.packet;
    function_ = packet == 1 ? functions.single : functions.packets;
    if (inner.extent % packet == 0) {
      task_.axis[task_.axes - 1].extent = Divider(static_cast<std::uint32_t>(inner.extent / packet));
    }
    const auto per_block = static_cast<std::uint32_t>(threads * packet);
    blocks_ = (task_.elements + per_block - 1) / per_block;
  }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.input = arguments.inputs[0];
    task.output = arguments.outputs[0];
    function_<<<blocks_, threads, shared_bytes_, stream_>>>(task);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  void prepare_tiles(const CopyPlan& plan, int column_axis) {
    const std::int64_t rows = plan.axes.back().extent, columns = plan.axes[static_cast<std::size_t>(column_axis)].extent;
    const CopyTile tile = plan_tile(rows, columns);
    task_.column_axis = column_axis;
    task_.rows = tile.rows, task_.columns = tile.columns, task_.pitch = tile.pitch;
    task_.divide_rows = Divider(tile.rows), task_.divide_columns = Divider(tile.columns);
    const std::int64_t row_tiles = (rows + tile.rows - 1) / tile.rows,
                       column_tiles = (columns + tile.columns - 1) / tile.columns;
    task_.row_tiles = Divider(static_cast<std::uint32_t>(row_tiles));
    task_.column_tiles = Divider(static_cast<std::uint32_t>(column_tiles));
    blocks_ = static_cast<std::uint32_t>(task_.elements / (rows * columns) * row_tiles * column_tiles);
    shared_bytes_ = tile.rows * tile.pitch * sizeof(std::uint32_t);
  }

  cudaStream_t stream_;
  Task task_{};
  CopyFunction function_ = nullptr;
  std::uint32_t blocks_ = 1;
  std::size_t shared_bytes_ = 0;
};

constexpr int max_parts = 48;
struct Parts {
  std::byte* output;
  std::uint32_t packets;        // to write
  Divider run;                  // packets of these inputs, side by side
  std::uint32_t stride, start;  // packets of the output: from run to run, and where the first begins
  int count;
  const std::byte* input[max_parts];
  std::uint32_t begin[max_parts + 1];  // packets, from the run's first
};

template <typename Word>
__global__ void __launch_bounds__(threads) concatenate(const __grid_constant__ Parts parts) {
  std::uint32_t at = blockIdx.x * threads + threadIdx.x;
  if (at >= parts.packets) return;
  const std::uint32_t run = parts.run.divide(at);
  int part = 0;
  while (part + 1 < parts.count && at >= parts.begin[part + 1]) ++part;
  const std::uint32_t length = parts.begin[part + 1] - parts.begin[part];
  reinterpret_cast<Word*>(parts.output)[run * parts.stride + parts.start + at] =
      reinterpret_cast<const Word*>(parts.input[part])[run * length + at - parts.begin[part]];
}

class ConcatenateKernel final : public Kernel {
 public:
  ConcatenateKernel(const Concatenate& spec, const Device& device) : stream_(device.stream) {
    for (int d = 0; d < spec.axis; ++d) runs_ *= spec.output.shape[d];
    for (const TensorDesc& input : spec.inputs) {
      lengths_.push_back(static_cast<std::int64_t>(input.bytes()) / runs_);
      total_ += lengths_.back();
    }
    for (const std::int64_t length : lengths_) {
      while (length % packet_ != 0) packet_ /= 2;
    }
  }

  void run(const Arguments& arguments) override {
    std::int64_t start = 0;
    for (std::size_t first = 0; first < lengths_.size(); first += max_parts) {
      Parts parts;
      parts.output = static_cast<std::byte*>(arguments.outputs[0]);
      parts.count = static_cast<int>(std::min<std::size_t>(max_parts, lengths_.size() - first));
      parts.begin[0] = 0;
      for (int i = 0; i < parts.count; ++i) {
        const std::size_t input = first + static_cast<std::size_t>(i);
        parts.input[i] = static_cast<const std::byte*>(arguments.inputs[input]);
        parts.begin[i + 1] = parts.begin[i] + static_cast<std::uint32_t>(lengths_[input] / packet_);
      }
      const std::uint32_t length = parts.begin[parts.count];
      parts.run = Divider(length);
      parts.packets = static_cast<std::uint32_t>(runs_) * length;
      parts.stride = static_cast<std::uint32_t>(total_ / packet_);
      parts.start = static_cast<std::uint32_t>(start / packet_);
      function()<<<(parts.packets + threads - 1) / threads, threads, 0, stream_>>>(parts);
      GANNET_CUDA(cudaGetLastError());
      start += static_cast<std::int64_t>(length) * packet_;
    }
  }

 private:
  void (*function() const)(Parts) {
    switch (packet_) {
      case 16:
        return concatenate<uint4>;
      case 8:
        return concatenate<uint2>;
      case 4:
        return concatenate<std::uint32_t>;
      case 2:
        return concatenate<std::uint16_t>;
      default:
        return concatenate<std::uint8_t>;
    }
  }

  cudaStream_t stream_;
  std::int64_t runs_ = 1, total_ = 0, packet_ = 16;  // total, packet: bytes
  std::vector<std::int64_t> lengths_;                // bytes of a run
};

}  // namespace

std::unique_ptr<Kernel> make_copy(const Copy& spec, const Device& device) { return std::make_unique<CopyKernel>(spec, device); }

std::unique_ptr<Kernel> make_concatenate(const Concatenate& spec, const Device& device) {
  return std::make_unique<ConcatenateKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda
