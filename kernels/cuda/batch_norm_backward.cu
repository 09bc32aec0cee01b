// The backward pass: sums of dy and of dy times x - mean over each chunk of rows, then over the group, then dx.
#include <cooperative_groups.h>

#include "kernels/cuda/batch_norm.cuh"

namespace gannet::kernels::cuda::batch_norm {
namespace {

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
struct Backward {
  static const void* address() { return reinterpret_cast<const void*>(backward<T, N, curved>); }
};

}  // namespace

const void* backward_kernel(const BatchNorm& spec, bool packets) {
  return spec.x.type == DType::f32 ? choose<float, Backward>(spec, packets) : choose<__nv_bfloat16, Backward>(spec, packets);
}

}  // namespace gannet::kernels::cuda::batch_norm
