// Batch normalisation with its activation: statistics, normalisation and activation in one launch, forward and backward. A
// block takes some rows of a tile of channels, keeps what it reads of them in shared memory while it waits for the other
// blocks' statistics (a cooperative launch), and so each operand crosses the memory bus once: pictures of up to 15 to 30 MB fit
// the shared memory of a large GPU, what does not fit is read again. Limited by memory.
#include <cooperative_groups.h>

#include <algorithm>
#include <string>
#include <type_traits>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 512;
constexpr std::uint32_t tile_bytes = 128;  // of a row of pixels: a whole line of the cache
constexpr std::uint32_t max_tile_channels = tile_bytes / 2;

// x as rows of `channels` numbers, `rows` of them in each group. Work items are (group, tile, chunk), chunk fastest; block b
// takes items b, b + blocks, …
struct Task {
  const void *x, *dy;
  void* y;  // or dx
  const float *gamma, *beta;
  float *mean, *variance;  // outputs of forward, inputs of backward
  const float *running_mean, *running_variance;
  float *new_running_mean, *new_running_variance;
  float momentum;  // 0: there are no running statistics
  float *dgamma, *dbeta;
  float* partial;  // (groups, chunks, 2, channels): mean and squares about it; or sums of dy and of dy times x - mean
  std::uint32_t rows, channels;
  std::uint32_t groups, tiles, chunks, items;
  std::uint32_t chunk_rows;
  std::uint32_t width;        // packets of a tile's row
  std::uint32_t cached_rows;  // of a block
  float epsilon;
  Activation::Kind activation;
  float slope;  // of the activation below 0; 1 where there is none
};

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

template <bool curved, int N>
__device__ __forceinline__ void end_with(const Task& task, float (&values)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if constexpr (curved) {
      values[k] = activate(task.activation, task.slope, values[k]);
    } else {
      values[k] = values[k] > 0 ? values[k] : task.slope * values[k];
    }
  }
}

// curved: the activation is not made of lines, and takes registers.
template <typename T, int N, bool curved>
__global__ void __launch_bounds__(threads, 1) forward(const __grid_constant__ Task task) {
  __shared__ Scratch scratch;
  std::uint32_t rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    const std::uint32_t rows = min(task.chunk_rows, task.rows - item.chunk * task.chunk_rows);
    // A thread's numbers about the first of them, then all threads' about those of the first: a large mean costs no digits.
    float origin[N] = {}, mean[N] = {}, squares[N] = {};
    std::uint32_t count = 0;
    for_each_row<T, N, curved, false, true>(task, item, place, rows_before,
                                            [&](const float(&x)[N], const float(&)[N], std::uint32_t) {
#pragma unroll
                                              for (int k = 0; k < N; ++k) {
                                                if (count == 0) origin[k] = x[k];
                                                const float deviation = x[k] - origin[k];
                                                mean[k] += deviation;
                                                squares[k] = fmaf(deviation, deviation, squares[k]);
                                              }
                                              ++count;
                                            });
    __syncthreads();
    const float share = count == 0 ? 0.0f : 1.0f / static_cast<float>(count);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      squares[k] = fmaf(-mean[k] * share, mean[k], squares[k]);
      mean[k] = fmaf(mean[k], share, origin[k]);
      if (place.y == 0) scratch.channel[0][k * task.width + place.x] = mean[k];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float distance = place.inside ? mean[k] - scratch.channel[0][k * task.width + place.x] : 0.0f;
      mean[k] = distance * static_cast<float>(count);
      squares[k] = fmaf(distance, mean[k], squares[k]);
    }
    const float2 sums = sums_of_channels<N>(scratch, task.width, count > 0, mean, squares);
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    if (threadIdx.x < task.width * N && channel < task.channels) {
      const float offset = sums.x / static_cast<float>(rows);
      partial_of(task, item.group, item.chunk, 0)[channel] =
          scratch.channel[0][threadIdx.x % N * task.width + threadIdx.x / N] + offset;
      partial_of(task, item.group, item.chunk, 1)[channel] = fmaxf(fmaf(-offset, sums.x, sums.y), 0.0f);
    }
  }
  if (task.chunks > 1 || (task.groups > 1 && task.momentum > 0)) cooperative_groups::this_grid().sync();
  rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    const bool of_channel = threadIdx.x < task.width * N && channel < task.channels;
    // The first item of a tile moves its running statistics, by each group in turn.
    const bool moves = task.momentum > 0 && item.group == 0 && item.chunk == 0;
    float running_mean = 0, running_variance = 0;
    if (moves && of_channel) running_mean = task.running_mean[channel], running_variance = task.running_variance[channel];
    for (std::uint32_t group = item.group; group < (moves ? task.groups : item.group + 1); ++group) {
      // The chunks' statistics become the group's (Chan, Golub & LeVeque 1979), about the first chunk's mean.
      __syncthreads();
      if (threadIdx.x < task.width * N) {
        scratch.channel[0][threadIdx.x] = of_channel ? __ldcg(partial_of(task, group, 0, 0) + channel) : 0.0f;
      }
      __syncthreads();
      constexpr int n = partial_packet<N>;
      const auto origin =
          *reinterpret_cast<const Packet<float, n>*>(scratch.channel[0] + threadIdx.x % (task.width * N / n) * n);
      const float2 sums =
          over_chunks<N>(task, scratch, group, item.tile,
                         [&](std::uint32_t chunk, int k, float mean, float squares, float& offset, float& total) {
                           const auto count = static_cast<float>(min(task.chunk_rows, task.rows - chunk * task.chunk_rows));
                           const float distance = mean - origin.at[k];
                           offset = fmaf(distance, count, offset);
                           total += fmaf(distance * distance, count, squares);
                         });
      if (!of_channel) continue;
      const auto total = static_cast<float>(task.rows);
      const float offset = sums.x / total, mean = scratch.channel[0][threadIdx.x] + offset;
      const float squares = fmaxf(fmaf(-offset, sums.x, sums.y), 0.0f), variance = squares / total;
      if (moves) {
        running_mean = fmaf(task.momentum, mean - running_mean, running_mean);
        running_variance = fmaf(task.momentum, squares / (total - 1) - running_variance, running_variance);
      }
      if (group != item.group) continue;
      if (item.chunk == 0) {
        task.mean[item.group * task.channels + channel] = mean;
        task.variance[item.group * task.channels + channel] = variance;
      }
      const std::uint32_t at = threadIdx.x % N * task.width + threadIdx.x / N;
      scratch.channel[1][at] = mean;
      scratch.channel[2][at] = task.gamma[channel] / sqrtf(variance + task.epsilon);
      scratch.channel[3][at] = task.beta[channel];
    }
    if (moves && of_channel) {
      task.new_running_mean[channel] = running_mean;
      task.new_running_variance[channel] = running_variance;
    }
    __syncthreads();
    float mean[N], scale[N], beta[N];
    place.of_channels(task, scratch.channel[1], mean);
    place.of_channels(task, scratch.channel[2], scale);
    place.of_channels(task, scratch.channel[3], beta);
    for_each_row<T, N, curved, false, false>(task, item, place, rows_before,
                                             [&](const float(&x)[N], const float(&)[N], std::uint32_t at) {
                                               float y[N];
#pragma unroll
                                               for (int k = 0; k < N; ++k) y[k] = fmaf(x[k] - mean[k], scale[k], beta[k]);
                                               end_with<curved>(task, y);
                                               store(static_cast<T*>(task.y) + at, y);
                                             });
  }
}

// What a thread knows of its channels in the backward pass.
template <int N, bool curved>
struct Channels {
  float mean[N], scale[N], beta[N];  // scale: gamma over the deviation

  // All threads of the block call.
  __device__ __forceinline__ Channels(const Task& task, Scratch& scratch, const Item& item, const Place<N>& place) {
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    __syncthreads();
    if (threadIdx.x < task.width * N && channel < task.channels) {
      const std::uint32_t at = threadIdx.x % N * task.width + threadIdx.x / N, in_group = item.group * task.channels + channel;
      scratch.channel[0][at] = task.mean[in_group];
      scratch.channel[1][at] = task.gamma[channel] / sqrtf(task.variance[in_group] + task.epsilon);
      scratch.channel[2][at] = task.beta[channel];
    }
    __syncthreads();
    place.of_channels(task, scratch.channel[0], mean);
    place.of_channels(task, scratch.channel[1], scale);
    place.of_channels(task, scratch.channel[2], beta);
    __syncthreads();
  }

  // x becomes its distance from the mean, dy the gradient before the activation.
  __device__ __forceinline__ void upstream(const Task& task, float (&x)[N], float (&dy)[N]) const {
    float before[N];
#pragma unroll
    for (int k = 0; k < N; ++k) {
      x[k] -= mean[k];
      before[k] = fmaf(x[k], scale[k], beta[k]);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if constexpr (curved) {
        dy[k] *= activation_slope(task.activation, task.slope, before[k]);
      } else {
        dy[k] = before[k] > 0 ? dy[k] : task.slope * dy[k];
      }
    }
  }
};

template <typename T, int N, bool curved>
__global__ void __launch_bounds__(threads, 1) backward(const __grid_constant__ Task task) {
  __shared__ Scratch scratch;
  std::uint32_t rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    const Channels<N, curved> channels(task, scratch, item, place);
    float sum[N] = {}, product[N] = {};
    for_each_row<T, N, curved, true, true>(task, item, place, rows_before, [&](float(&x)[N], float(&dy)[N], std::uint32_t) {
      channels.upstream(task, x, dy);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += dy[k], product[k] = fmaf(dy[k], x[k], product[k]);
    });
    const float2 sums = sums_of_channels<N>(scratch, task.width, place.inside, sum, product);
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    if (threadIdx.x < task.width * N && channel < task.channels) {
      partial_of(task, item.group, item.chunk, 0)[channel] = sums.x;
      partial_of(task, item.group, item.chunk, 1)[channel] = sums.y;
    }
  }
  if (task.chunks > 1 || task.groups > 1) {
    cooperative_groups::this_grid().sync();
  } else {
    __syncthreads();
  }
  rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    const Channels<N, curved> channels(task, scratch, item, place);
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    const bool of_channel = threadIdx.x < task.width * N && channel < task.channels;
    // The first item of a tile writes the sums over all groups.
    const bool writes = item.group == 0 && item.chunk == 0;
    float all_sums = 0, all_products = 0;  // of dy, and of dy times normalised x
    for (std::uint32_t group = writes ? 0 : item.group; group < (writes ? task.groups : item.group + 1); ++group) {
      const float2 sums = over_chunks<N>(task, scratch, group, item.tile,
                                         [&](std::uint32_t, int, float sum, float product, float& a, float& b) {
                                           a += sum;
                                           b += product;
                                         });
      if (!of_channel) continue;
      const float inverse = 1.0f / sqrtf(task.variance[group * task.channels + channel] + task.epsilon);
      const auto count = static_cast<float>(task.rows);
      if (group == item.group) {
        const std::uint32_t at = threadIdx.x % N * task.width + threadIdx.x / N;
        scratch.channel[0][at] = sums.x / count;
        scratch.channel[1][at] = sums.y * inverse * inverse / count;
      }
      all_sums += sums.x;
      all_products = fmaf(sums.y, inverse, all_products);
    }
    if (writes && of_channel) task.dbeta[channel] = all_sums, task.dgamma[channel] = all_products;
    __syncthreads();
    float sum[N], product[N];  // a row's share of each, the latter over the variance
    place.of_channels(task, scratch.channel[0], sum);
    place.of_channels(task, scratch.channel[1], product);
    for_each_row<T, N, curved, true, false>(task, item, place, rows_before, [&](float(&x)[N], float(&dy)[N], std::uint32_t at) {
      channels.upstream(task, x, dy);
#pragma unroll
      for (int k = 0; k < N; ++k) dy[k] = channels.scale[k] * (dy[k] - sum[k] - x[k] * product[k]);
      store(static_cast<T*>(task.y) + at, dy);
    });
  }
}

template <typename T, int N, bool curved>
const void* kernel_of(BatchNorm::Kind kind) {
  return kind == BatchNorm::Kind::forward ? reinterpret_cast<const void*>(forward<T, N, curved>)
                                          : reinterpret_cast<const void*>(backward<T, N, curved>);
}
bool is_curved(const Activation& activation) {
  return activation.kind == Activation::Kind::tanh || activation.kind == Activation::Kind::sigmoid;
}

template <typename T>
const void* kernel_for(const BatchNorm& spec, bool packets) {
  constexpr int n = 16 / sizeof(T);
  if (is_curved(spec.activation)) return packets ? kernel_of<T, 4, true>(spec.kind) : kernel_of<T, 1, true>(spec.kind);
  return packets ? kernel_of<T, n, false>(spec.kind) : kernel_of<T, 1, false>(spec.kind);
}

std::uint32_t up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

class BatchNormKernel final : public Kernel {
 public:
  BatchNormKernel(const BatchNorm& spec, const Device& device) : kind_(spec.kind), stream_(device.stream) {
    const Shape& shape = spec.x.shape;
    const auto element = static_cast<std::uint32_t>(size_of(spec.x.type));
    task_.channels = static_cast<std::uint32_t>(shape[shape.rank() - 1]);
    task_.groups = static_cast<std::uint32_t>(spec.groups);
    task_.rows = static_cast<std::uint32_t>(shape.elements()) / task_.channels / task_.groups;
    task_.epsilon = spec.epsilon;
    task_.momentum = spec.momentum;
    task_.activation = spec.activation.kind;
    task_.slope = spec.activation.kind == Activation::Kind::none ? 1.0f : spec.activation.slope;
    const std::uint32_t widest = is_curved(spec.activation) ? 4 : 16 / element;
    const std::uint32_t packet = task_.channels % widest == 0 ? widest : 1;
    task_.width = std::min(task_.channels / packet, tile_bytes / element / packet);
    task_.tiles = up(task_.channels / packet, task_.width);
    kernel_ = spec.x.type == DType::f32 ? kernel_for<float>(spec, packet > 1) : kernel_for<__nv_bfloat16>(spec, packet > 1);

    cudaFuncAttributes attributes{};
    GANNET_CUDA(cudaFuncGetAttributes(&attributes, kernel_));
    const std::size_t room = device.shared_bytes - attributes.sharedSizeBytes;
    const std::uint32_t row_bytes = task_.width * packet * element * (kind_ == BatchNorm::Kind::backward ? 2 : 1);
    GANNET_CUDA(cudaFuncSetAttribute(kernel_, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(room)));
    int resident = 0;
    GANNET_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel_, threads, room));
    if (resident < 1) refuse("[batch norm] this device can not run a block of " + std::to_string(threads) + " threads");
    const std::uint32_t most = static_cast<std::uint32_t>(resident) * static_cast<std::uint32_t>(device.multiprocessors);
    // As many blocks as can be resident at once, but enough rows for each that its threads have something to do.
    const std::uint32_t least_rows = threads / task_.width;
    const std::uint32_t chunks = std::max(1u, std::min(most / (task_.tiles * task_.groups), up(task_.rows, least_rows)));
    task_.chunk_rows = up(task_.rows, chunks);
    task_.chunks = up(task_.rows, task_.chunk_rows);
    task_.items = task_.groups * task_.tiles * task_.chunks;
    blocks_ = std::min(most, task_.items);
    const std::uint32_t rows_of_block = up(task_.items, blocks_) * task_.chunk_rows;
    task_.cached_rows = std::min(rows_of_block, static_cast<std::uint32_t>(room / row_bytes));
    shared_bytes_ = static_cast<std::size_t>(task_.cached_rows) * row_bytes;
  }

  std::size_t workspace_bytes() const override { return sizeof(float) * 2 * task_.groups * task_.chunks * task_.channels; }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.partial = static_cast<float*>(arguments.workspace);
    task.x = arguments.inputs[0];
    task.gamma = static_cast<const float*>(arguments.inputs[1]);
    task.beta = static_cast<const float*>(arguments.inputs[2]);
    task.y = arguments.outputs[0];
    if (kind_ == BatchNorm::Kind::forward) {
      task.mean = static_cast<float*>(arguments.outputs[1]);
      task.variance = static_cast<float*>(arguments.outputs[2]);
      if (task.momentum > 0) {
        task.running_mean = static_cast<const float*>(arguments.inputs[3]);
        task.running_variance = static_cast<const float*>(arguments.inputs[4]);
        task.new_running_mean = static_cast<float*>(arguments.outputs[3]);
        task.new_running_variance = static_cast<float*>(arguments.outputs[4]);
      }
    } else {
      // Only read by this direction.
      task.mean = const_cast<float*>(static_cast<const float*>(arguments.inputs[3]));
      task.variance = const_cast<float*>(static_cast<const float*>(arguments.inputs[4]));
      task.dy = arguments.inputs[5];
      task.dgamma = static_cast<float*>(arguments.outputs[1]);
      task.dbeta = static_cast<float*>(arguments.outputs[2]);
    }
    void* parameters[] = {&task};
    GANNET_CUDA(cudaLaunchCooperativeKernel(kernel_, dim3(blocks_), dim3(threads), parameters, shared_bytes_, stream_));
  }

 private:
  BatchNorm::Kind kind_;
  cudaStream_t stream_;
  Task task_{};
  const void* kernel_ = nullptr;
  std::uint32_t blocks_ = 1;
  std::size_t shared_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const BatchNorm& spec, const Device& device) {
  return std::make_unique<BatchNormKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda
