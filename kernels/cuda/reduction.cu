// Sums of a chain over some of its axes, in one launch. Blocks leave partial sums in the workspace, and the last of those that
// share results adds them up in their order: the same bits every time. Limited by memory: each operand is read once, in packets
// of 16 bytes where rows allow it.
#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/chain_ahead.cuh"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/factories.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;
constexpr std::size_t static_shared = 1024;  // more than what the kernels declare

// In memory order the elements are: outer axes, kept or summed, then `rows` that are summed of `columns` that are kept (sums of
// columns) or `columns` alone, summed (sums of rows). A line is a row of these: `columns` neighbouring elements.
struct Sum {
  int kept_axes = 0, summed_axes = 0;  // outer, outermost first; the rows of sums of columns are a summed axis
  Divider kept_extent[max_rank], summed_extent[max_rank];
  std::uint32_t kept_step[max_rank] = {}, summed_step[max_rank] = {};  // elements of the chain
  std::uint32_t kept = 1, lines = 1, columns = 1;
  std::uint32_t chunks = 1;         // blocks that share results
  std::uint32_t chunk_lines = 1;    // lines of each
  std::uint32_t chunk_columns = 1;  // sums of rows may also cut a line: columns of each piece, a multiple of the packet
  std::uint32_t pieces = 1;         // of a line
  std::uint32_t width = 1;          // sums of columns: packets of a line that a block takes; sums of rows: threads to a result
  float scale = 1;
  float* partial = nullptr;  // chunk by chunk
  float* result = nullptr;
  unsigned int* counters = nullptr;
};

__device__ inline std::uint32_t offset_of(std::uint32_t index, const Divider* extent, const std::uint32_t* step, int axes) {
  std::uint32_t offset = 0;
  for (int axis = axes - 1; axis >= 0; --axis) {
    const std::uint32_t outer = extent[axis].divide(index);
    offset += index * step[axis];
    index = outer;
  }
  return offset;
}

// A chain of unknown form.
constexpr int interpreted = -1;

template <int form, int N>
__device__ __forceinline__ Packet<float, N> computed(const Chain& chain, std::uint32_t index) {
  const ChainValues<form, N> values(chain, index);
  Packet<float, N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result.at[i] = values.value[forms_ahead[form].output[0].result][i];
  return result;
}

// The chain's result, for elements [index, index + N) of which `count` exist; the others give 0.
template <int form, int N>
__device__ __forceinline__ Packet<float, N> result_of(const Chain& chain, const Column<N>& column, std::uint32_t index,
                                                      int count) {
  if constexpr (form != interpreted) {
    if (count == N) return computed<form, N>(chain, index);
    Packet<float, N> values{};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (i < count) values.at[i] = computed<form, 1>(chain, index + i).at[0];
    }
    return values;
  }
  Packet<float, N> values = interpret(chain, column, index, count);
  if (chain.output[0].slot != last_result) values = column[chain.output[0].slot];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i >= count) values.at[i] = 0;
  }
  return values;
}

// Block (x: tile of columns for each result of the kept outer axes, y: chunk of lines). Threads stand in rows of `width`
// packets.
template <int form, int N>
__global__ void __launch_bounds__(threads) sum_columns(const __grid_constant__ Chain chain, const __grid_constant__ Sum sum) {
  extern __shared__ Packet<float, 4> shared[];
  auto* packets = reinterpret_cast<Packet<float, N>*>(shared);
  const Column<N> column{packets + threadIdx.x, threads};
  const std::uint32_t x = threadIdx.x % sum.width, y = threadIdx.x / sum.width, rows = threads / sum.width;
  const std::uint32_t tile_columns = sum.width * N, tiles = (sum.columns + tile_columns - 1) / tile_columns;
  const std::uint32_t kept = blockIdx.x / tiles, left = blockIdx.x % tiles * tile_columns, first = left + x * N;
  const std::uint32_t start = offset_of(kept, sum.kept_extent, sum.kept_step, sum.kept_axes);
  const std::uint32_t end = min(sum.lines, (blockIdx.y + 1) * sum.chunk_lines);
  Packet<float, N> total{};
  if (first < sum.columns && y < rows) {
    for (std::uint32_t line = blockIdx.y * sum.chunk_lines + y; line < end; line += rows) {
      const std::uint32_t at = start + offset_of(line, sum.summed_extent, sum.summed_step, sum.summed_axes) + first;
      const Packet<float, N> values = result_of<form>(chain, column, at, N);
#pragma unroll
      for (int i = 0; i < N; ++i) total.at[i] += values.at[i];
    }
  }
  packets[threadIdx.x] = total;
  __syncthreads();
  if (y == 0 && first < sum.columns) {
    for (std::uint32_t row = 1; row < rows; ++row) {
      const Packet<float, N> values = packets[row * sum.width + x];
#pragma unroll
      for (int i = 0; i < N; ++i) total.at[i] += values.at[i];
    }
    if (sum.chunks == 1) {
#pragma unroll
      for (int i = 0; i < N; ++i) total.at[i] *= sum.scale;
    }
    float* to = sum.chunks == 1 ? sum.result : sum.partial + blockIdx.y * sum.kept * sum.columns;
    store(to + kept * sum.columns + first, total.at);
  }
  if (sum.chunks == 1 || !last_of(sum.counters + blockIdx.x, sum.chunks)) return;
  for (std::uint32_t c = left + threadIdx.x; c < min(left + tile_columns, sum.columns); c += threads) {
    const std::uint32_t place = kept * sum.columns + c;
    float all = 0;
    for (std::uint32_t chunk = 0; chunk < sum.chunks; ++chunk) {
      all += __ldcg(sum.partial + chunk * sum.kept * sum.columns + place);
    }
    sum.result[place] = all * sum.scale;
  }
}

// Groups of `width` threads, each with a result (block x) and a chunk of its pieces of lines (block y).
template <int form, int N>
__global__ void __launch_bounds__(threads) sum_rows(const __grid_constant__ Chain chain, const __grid_constant__ Sum sum) {
  extern __shared__ Packet<float, 4> shared[];
  const Column<N> column{reinterpret_cast<Packet<float, N>*>(shared) + threadIdx.x, threads};
  const std::uint32_t lane = threadIdx.x % sum.width, result = blockIdx.x * (threads / sum.width) + threadIdx.x / sum.width;
  float total = 0;
  if (result < sum.kept) {
    const std::uint32_t start = offset_of(result, sum.kept_extent, sum.kept_step, sum.kept_axes);
    // Packets of the chunk, line by line.
    const std::uint32_t piece = blockIdx.y % sum.pieces, chunk = blockIdx.y / sum.pieces;
    const std::uint32_t left = piece * sum.chunk_columns, right = min(sum.columns, left + sum.chunk_columns);
    const std::uint32_t packets = (right - left + N - 1) / N;
    const std::uint32_t first = chunk * sum.chunk_lines, end = min(sum.lines, first + sum.chunk_lines);
    std::uint32_t line = first + lane / packets, at = lane % packets;
    const std::uint32_t lines_on = sum.width / packets, on = sum.width % packets;
    while (line < end) {
      const std::uint32_t place = left + at * N;
      const std::uint32_t index = start + offset_of(line, sum.summed_extent, sum.summed_step, sum.summed_axes) + place;
      const Packet<float, N> values =
          result_of<form>(chain, column, index, static_cast<int>(min(right - place, std::uint32_t{N})));
#pragma unroll
      for (int i = 0; i < N; ++i) total += values.at[i];
      line += lines_on, at += on;
      if (at >= packets) at -= packets, ++line;
    }
  }
  if (sum.width <= 32) {
    total = sum_of_lanes(total, static_cast<int>(sum.width));
  } else {
    total = sum_of_block(total);
  }
  const bool writes = lane == 0 && result < sum.kept;
  if (sum.chunks == 1) {
    if (writes) sum.result[result] = total * sum.scale;
    return;
  }
  if (writes) sum.partial[blockIdx.y * sum.kept + result] = total;
  if (!last_of(sum.counters + blockIdx.x, sum.chunks)) return;
  float all = 0;
  if (result < sum.kept) {
    for (std::uint32_t chunk = lane; chunk < sum.chunks; chunk += sum.width)
      all += __ldcg(sum.partial + chunk * sum.kept + result);
  }
  all = sum.width <= 32 ? sum_of_lanes(all, static_cast<int>(sum.width)) : sum_of_block(all);
  if (writes) sum.result[result] = all * sum.scale;
}

// The kernels of a form: of whole packets and of single elements.
struct SumKernels {
  void (*columns[2])(Chain, Sum);
  void (*rows[2])(Chain, Sum);
  int packet;
  bool ahead;
};
template <int form>
SumKernels kernels_of() {
  constexpr int n = form == interpreted ? 4 : packet_of(forms_ahead[form < 0 ? 0 : form], true);
  return {{sum_columns<form, n>, sum_columns<form, 1>}, {sum_rows<form, n>, sum_rows<form, 1>}, n, form != interpreted};
}
template <int... sum>
SumKernels kernels_for(const ChainForm& wanted, std::integer_sequence<int, sum...>) {
  SumKernels found = kernels_of<interpreted>();
  ((forms_ahead[stored_ahead + sum] == wanted ? void(found = kernels_of<stored_ahead + sum>()) : void()), ...);
  return found;
}

struct Axis {
  std::int64_t extent, step;
  bool summed;
};

// The axes of the chain's elements, outermost first, neighbours of one kind merged.
std::vector<Axis> merged_axes(const Reduction& spec) {
  std::vector<Axis> axes;
  std::int64_t step = 1;
  for (int d = spec.chain.shape.rank() - 1; d >= 0; --d) {
    const std::int64_t extent = spec.chain.shape[d];
    if (extent > 1) {
      if (!axes.empty() && axes.back().summed == spec.summed[static_cast<std::size_t>(d)]) {
        axes.back().extent *= extent;
      } else {
        axes.push_back({extent, step, spec.summed[static_cast<std::size_t>(d)]});
      }
    }
    step *= extent;
  }
  if (axes.empty()) axes.push_back({1, 1, true});
  std::reverse(axes.begin(), axes.end());
  return axes;
}

std::uint32_t up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

class ReductionKernel final : public Kernel {
 public:
  ReductionKernel(const Reduction& spec, const Device& device) : stream_(device.stream) {
    const std::vector<Axis> axes = merged_axes(spec);
    const Axis inner = axes.back();
    by_columns_ = !inner.summed;
    sum_.columns = static_cast<std::uint32_t>(inner.extent);
    sum_.scale = spec.scale;
    for (std::size_t a = 0; a + 1 < axes.size(); ++a) {
      const Divider extent(static_cast<std::uint32_t>(axes[a].extent));
      const auto step = static_cast<std::uint32_t>(axes[a].step);
      if (axes[a].summed) {
        sum_.summed_extent[sum_.summed_axes] = extent, sum_.summed_step[sum_.summed_axes++] = step;
        sum_.lines *= extent.divisor;
      } else {
        sum_.kept_extent[sum_.kept_axes] = extent, sum_.kept_step[sum_.kept_axes++] = step;
        sum_.kept *= extent.divisor;
      }
    }
    chain_ = plan_chain(spec.chain, 1, "reduction");  // refuses what is too long
    const SumKernels kernels = kernels_for(form_of(spec.chain), std::make_integer_sequence<int, summed_ahead>{});
    // Packets begin where their size divides the index.
    const bool whole = sum_.columns % static_cast<std::uint32_t>(kernels.packet) == 0 || (axes.size() == 1 && !by_columns_);
    packet_ = whole ? kernels.packet : 1;
    kernel_ = (by_columns_ ? kernels.columns : kernels.rows)[whole ? 0 : 1];
    chain_ = plan_chain(spec.chain, packet_, "reduction");
    const std::size_t slots = kernels.ahead ? 1 : std::max<std::size_t>(chain_.slots, 1);
    shared_bytes_ = slots * threads * sizeof(float) * static_cast<std::size_t>(packet_);
    if (shared_bytes_ + static_shared > device.shared_bytes) {
      refuse("[reduction] a chain with " + std::to_string(chain_.slots) + " values alive at once is too long");
    }
    const auto blocks = static_cast<std::uint32_t>(device.multiprocessors) * 4;
    if (by_columns_) {
      divide_columns(blocks);
    } else {
      divide_rows(blocks);
    }
    counters_ = std::make_unique<DeviceArray<unsigned int>>(std::vector<unsigned int>(counters_wanted_, 0), device);
    sum_.counters = counters_->data();
    GANNET_CUDA(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(device.shared_bytes - static_shared)));
  }

  std::size_t workspace_bytes() const override {
    return sum_.chunks == 1 ? 0 : sizeof(float) * sum_.chunks * sum_.kept * (by_columns_ ? sum_.columns : 1);
  }

  void run(const Arguments& arguments) override {
    Chain chain = chain_;
    for (int i = 0; i < chain.inputs; ++i) chain.input[i].data = arguments.inputs[i];
    Sum sum = sum_;
    sum.partial = static_cast<float*>(arguments.workspace);
    sum.result = static_cast<float*>(arguments.outputs[0]);
    kernel_<<<grid_, threads, shared_bytes_, stream_>>>(chain, sum);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  void divide_columns(std::uint32_t blocks) {
    const std::uint32_t packets = sum_.columns / static_cast<std::uint32_t>(packet_);
    sum_.width = std::min(packets, packet_ > 1 ? 32u : 64u);  // lines of 512 or 256 bytes
    const std::uint32_t tiles = up(packets, sum_.width), rows = threads / sum_.width;
    const std::uint32_t most = std::max(1u, up(blocks, tiles * sum_.kept));
    sum_.chunk_lines = std::max(up(sum_.lines, most), 4 * rows);
    sum_.chunks = up(sum_.lines, sum_.chunk_lines);
    grid_ = dim3(tiles * sum_.kept, sum_.chunks);
    counters_wanted_ = tiles * sum_.kept;
  }

  void divide_rows(std::uint32_t blocks) {
    const auto packet = static_cast<std::uint32_t>(packet_);
    const std::uint32_t work = up(sum_.columns, packet) * sum_.lines;  // packets to a result
    sum_.width = work > 256 ? threads : 1;
    while (sum_.width < 32 && sum_.width * 2 < work) sum_.width *= 2;
    const std::uint32_t across = up(sum_.kept, threads / sum_.width);
    const std::uint32_t most = std::max(1u, up(blocks, across)), least = 8 * sum_.width;  // packets to a chunk
    const std::uint32_t wanted = sum_.width < threads ? 1 : std::clamp(work / least, 1u, most);
    sum_.pieces = std::min(std::max(1u, up(wanted, sum_.lines)), up(sum_.columns, packet));
    sum_.chunk_columns = up(up(sum_.columns, sum_.pieces), packet) * packet;
    sum_.pieces = up(sum_.columns, sum_.chunk_columns);
    sum_.chunk_lines = up(sum_.lines, std::min(sum_.lines, std::max(1u, wanted / sum_.pieces)));
    sum_.chunks = sum_.pieces * up(sum_.lines, sum_.chunk_lines);
    grid_ = dim3(across, sum_.chunks);
    counters_wanted_ = across;
  }

  cudaStream_t stream_;
  bool by_columns_ = false;
  int packet_ = 1;
  void (*kernel_)(Chain, Sum) = nullptr;
  Chain chain_;
  Sum sum_;
  dim3 grid_;
  std::size_t shared_bytes_ = 0;
  std::uint32_t counters_wanted_ = 1;
  std::unique_ptr<DeviceArray<unsigned int>> counters_;
};

}  // namespace

std::unique_ptr<Kernel> make_reduction(const Reduction& spec, const Device& device) {
  return std::make_unique<ReductionKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda
