// Batch normalisation with its activation: statistics, normalisation and activation in one launch, forward and backward. A
// block takes some rows of a tile of channels, keeps what it reads of them in shared memory while it waits for the other
// blocks' statistics (a cooperative launch), and so each operand crosses the memory bus once: pictures of up to 15 to 30 MB fit
// the shared memory of a large GPU, what does not fit is read again. Limited by memory.
#pragma once

#include <type_traits>

#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda::batch_norm {

struct Item {
  std::uint32_t group, tile, chunk;
  __device__ Item(const Task& task, std::uint32_t index)
      : group(index / task.chunks / task.tiles), tile(index / task.chunks % task.tiles), chunk(index % task.chunks) {}
};

// Where a thread stands: in row y of those that the block takes at once, at N channels from `channel` on.
template <int N>
struct Place {
  std::uint32_t x, y, rows, channel;
  bool inside;
  __device__ Place(const Task& task, std::uint32_t tile) {
    x = threadIdx.x % task.width;
    y = threadIdx.x / task.width;
    rows = threads / task.width;
    channel = (tile * task.width + x) * N;
    inside = y < rows && channel < task.channels;
    if (!inside) y = task.rows;  // beyond every row
  }
  // Of what is kept for each channel of the tile, a thread's: number k of each thread, then number k + 1.
  __device__ __forceinline__ void of_channels(const Task& task, const float* of_tile, float (&values)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = inside ? of_tile[k * task.width + x] : 0.0f;
  }
};

// Calls visit(x, dy, element) for this thread's rows of an item. What the first pass reads goes to shared memory, as far as
// that reaches, and the second pass takes it from there. Several rows are under way at once.
template <typename T, int N, bool curved, bool backward, bool first_pass, typename Visit>
__device__ __forceinline__ void for_each_row(const Task& task, const Item& item, const Place<N>& place,
                                             std::uint32_t rows_before, Visit visit) {
  extern __shared__ Packet<std::uint32_t, 4> shared[];
  using Numbers = ReadAs<T, N>;
  auto* cached_x = reinterpret_cast<Numbers*>(shared);
  auto* cached_dy = cached_x + task.cached_rows * task.width;
  constexpr std::uint32_t together = backward || curved ? 2 : N > 4 ? 3 : 4;
  const std::uint32_t first = item.chunk * task.chunk_rows, rows = min(task.chunk_rows, task.rows - first);
  const std::uint32_t start = (item.group * task.rows + first) * task.channels + place.channel;
  const auto* x = static_cast<const T*>(task.x) + start;
  const auto* dy = static_cast<const T*>(task.dy) + start;
  const auto take = [&](std::uint32_t begin, auto whole) {
    Numbers of_x[together];
    [[maybe_unused]] Numbers of_dy[together];
#pragma unroll
    for (std::uint32_t i = 0; i < together; ++i) {
      const std::uint32_t row = begin + i * place.rows, at = row * task.channels, slot = rows_before + row;
      if (!whole.value && row >= rows) continue;
      if (!first_pass && slot < task.cached_rows) {
        of_x[i] = cached_x[slot * task.width + place.x];
        if constexpr (backward) of_dy[i] = cached_dy[slot * task.width + place.x];
      } else {
        of_x[i] = *reinterpret_cast<const Numbers*>(x + at);
        if constexpr (backward) of_dy[i] = *reinterpret_cast<const Numbers*>(dy + at);
      }
    }
#pragma unroll
    for (std::uint32_t i = 0; i < together; ++i) {
      const std::uint32_t row = begin + i * place.rows, slot = rows_before + row;
      if (!whole.value && row >= rows) continue;
      if (first_pass && slot < task.cached_rows) {
        cached_x[slot * task.width + place.x] = of_x[i];
        if constexpr (backward) cached_dy[slot * task.width + place.x] = of_dy[i];
      }
      float x_values[N], dy_values[N] = {};
      widen(of_x[i], x_values);
      if constexpr (backward) widen(of_dy[i], dy_values);
      visit(x_values, dy_values, start + row * task.channels);
    }
  };
  std::uint32_t row = place.y;
#pragma unroll 1
  for (; row + (together - 1) * place.rows < rows; row += together * place.rows) take(row, std::true_type{});
  if (row < rows) take(row, std::false_type{});
}

// What the threads of a block share: sums on their way, and what is known of each channel of the tile.
struct alignas(16) Scratch {
  float sums[2 * threads];
  float total[2][max_tile_channels];
  float channel[4][max_tile_channels];
};

// Two numbers of each of `width` * N channels, added up over the threads that hold them, of which thread (x, y) has those at x:
// thread c has those of channel c afterwards. Always in the same order. All threads call; it begins and ends with a barrier.
template <int N>
__device__ inline float2 sums_of_channels(Scratch& scratch, std::uint32_t width, bool holds, const float (&a)[N],
                                          const float (&b)[N]) {
  const std::uint32_t channels = width * N, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (width <= 32 && (width & (width - 1)) == 0) {
    const auto sum = [&](const float(&values)[N]) {
      __syncthreads();
#pragma unroll
      for (int k = 0; k < N; ++k) {
        float value = holds ? values[k] : 0.0f;
        for (std::uint32_t distance = 16; distance >= width; distance /= 2) {
          value += __shfl_xor_sync(0xFFFFFFFFu, value, static_cast<int>(distance));
        }
        if (lane < width) scratch.sums[(warp * N + k) * width + lane] = value;
      }
      __syncthreads();
      float total = 0;
      if (threadIdx.x < channels) {
        const std::uint32_t place = threadIdx.x % N * width + threadIdx.x / N;
#pragma unroll
        for (std::uint32_t w = 0; w < threads / 32; ++w) total += scratch.sums[w * channels + place];
      }
      return total;
    };
    float2 total;
    total.x = sum(a);
    total.y = sum(b);
    __syncthreads();
    return total;
  }
  const std::uint32_t rows = threads / width;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    __syncthreads();
    scratch.sums[threadIdx.x] = holds ? a[k] : 0.0f;
    scratch.sums[threads + threadIdx.x] = holds ? b[k] : 0.0f;
    __syncthreads();
    for (std::uint32_t x = warp; x < width; x += threads / 32) {
      float of_a = 0, of_b = 0;
      for (std::uint32_t row = lane; row < rows; row += 32) {
        of_a += scratch.sums[row * width + x];
        of_b += scratch.sums[threads + row * width + x];
      }
      of_a = sum_of_lanes(of_a), of_b = sum_of_lanes(of_b);
      if (lane == 0) scratch.total[0][x * N + k] = of_a, scratch.total[1][x * N + k] = of_b;
    }
  }
  __syncthreads();
  float2 total = {0, 0};
  if (threadIdx.x < channels) total = {scratch.total[0][threadIdx.x], scratch.total[1][threadIdx.x]};
  __syncthreads();
  return total;
}

__device__ inline float* partial_of(const Task& task, std::uint32_t group, std::uint32_t chunk, int which) {
  return task.partial + ((group * task.chunks + chunk) * 2 + which) * task.channels;
}

// Past the first cache.
template <int N>
__device__ __forceinline__ Packet<float, N> written_by_others(const float* from) {
  if constexpr (N == 4) {
    const float4 four = __ldcg(reinterpret_cast<const float4*>(from));
    return {four.x, four.y, four.z, four.w};
  } else {
    return {__ldcg(from)};
  }
}

// Channels of a tile that a thread takes when it reads what the chunks have left.
template <int N>
constexpr int partial_packet = N > 1 ? 4 : 1;

// Reads what all chunks of a group have left of a tile's channels, each thread a packet of some chunks, and calls
// visit(chunk, which of the packet, first number, second number, a, b); then adds up the a's and b's: thread c has the sums of
// channel c.
template <int N, typename Visit>
__device__ __forceinline__ float2 over_chunks(const Task& task, Scratch& scratch, std::uint32_t group, std::uint32_t tile,
                                              Visit visit) {
  constexpr int n = partial_packet<N>;
  const std::uint32_t width = task.width * N / n, x = threadIdx.x % width, y = threadIdx.x / width, slices = threads / width;
  const std::uint32_t channel = tile * task.width * N + x * n;
  const bool holds = y < slices && channel < task.channels;
  float a[n] = {}, b[n] = {};
  if (holds) {
    constexpr std::uint32_t together = 4;
    for (std::uint32_t begin = y; begin < task.chunks; begin += together * slices) {
      Packet<float, n> first[together], second[together];
#pragma unroll
      for (std::uint32_t i = 0; i < together; ++i) {
        const std::uint32_t chunk = begin + i * slices;
        if (chunk >= task.chunks) continue;
        first[i] = written_by_others<n>(partial_of(task, group, chunk, 0) + channel);
        second[i] = written_by_others<n>(partial_of(task, group, chunk, 1) + channel);
      }
#pragma unroll
      for (std::uint32_t i = 0; i < together; ++i) {
        const std::uint32_t chunk = begin + i * slices;
        if (chunk >= task.chunks) continue;
#pragma unroll
        for (int k = 0; k < n; ++k) visit(chunk, k, first[i].at[k], second[i].at[k], a[k], b[k]);
      }
    }
  }
  return sums_of_channels<n>(scratch, width, holds, a, b);
}

template <typename T, template <typename, int, bool> typename Direction>
const void* choose(const BatchNorm& spec, bool packets) {
  constexpr int n = 16 / sizeof(T);
  if (is_curved(spec.activation)) return packets ? Direction<T, 4, true>::address() : Direction<T, 1, true>::address();
  return packets ? Direction<T, n, false>::address() : Direction<T, 1, false>::address();
}

}  // namespace gannet::kernels::cuda::batch_norm
