// The forward pass: statistics of each chunk of rows, then of the group, then the rows normalised and activated.
#include <cooperative_groups.h>

#include "kernels/cuda/batch_norm.cuh"

namespace gannet::kernels::cuda::batch_norm {
namespace {

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

template <typename T, int N, bool curved>
struct Forward {
  static const void* address() { return reinterpret_cast<const void*>(forward<T, N, curved>); }
};

}  // namespace

const void* forward_kernel(const BatchNorm& spec, bool packets) {
  return spec.x.type == DType::f32 ? choose<float, Forward>(spec, packets) : choose<__nv_bfloat16, Forward>(spec, packets);
}

}  // namespace gannet::kernels::cuda::batch_norm
