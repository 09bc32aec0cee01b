// Batch normalisation with its activation: statistics, normalisation and activation in one launch, forward and backward. A
// block takes some rows of a tile of channels, keeps what it reads of them in shared memory while it waits for the other
// blocks' statistics (a cooperative launch), and so each operand crosses the memory bus once: pictures of up to 15 to 30 MB fit
// the shared memory of a large GPU, what does not fit is read again. Limited by memory.
#include <cooperative_groups.h>

#include <algorithm>
#include <string>

#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 512;
constexpr std::uint32_t tile_bytes = 128;  // of a row of pixels: a whole line of the cache

// x as rows of `channels` numbers, `rows` of them in each group. Work items are (group, tile, chunk), chunk fastest; block b
// takes items b, b + blocks, …
struct Task {
  const void *x, *dy;
  void* y;  // or dx
  const float *gamma, *beta;
  float *mean, *variance;  // outputs of forward, inputs of backward
  float *dgamma, *dbeta;
  float* partial;  // (groups, chunks, 2, channels): mean and squares about it; or sums of dy and of dy times x - mean
  std::uint32_t rows, channels;
  std::uint32_t groups, tiles, chunks, items;
  std::uint32_t chunk_rows;
  std::uint32_t width;        // packets of a tile's row
  std::uint32_t cached_rows;  // of a block
  float epsilon;
  Activation::Kind activation;
  float slope;
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
  }
};

// Calls visit(packet of x, packet of dy, element) for this thread's rows of an item. What the first pass reads goes to shared
// memory, as far as that reaches, and the second pass takes it from there. Several rows are under way at once.
template <typename T, int N, bool backward, bool first_pass, typename Visit>
__device__ __forceinline__ void for_each_row(const Task& task, const Item& item, const Place<N>& place,
                                             std::uint32_t rows_before, Visit visit) {
  extern __shared__ Packet<std::uint32_t, 4> shared[];
  auto* cached_x = reinterpret_cast<Packet<T, N>*>(shared);
  auto* cached_dy = cached_x + task.cached_rows * task.width;
  const auto* x = static_cast<const T*>(task.x);
  const auto* dy = static_cast<const T*>(task.dy);
  const std::uint32_t first = item.chunk * task.chunk_rows, end = min(task.rows, first + task.chunk_rows);
  constexpr int together = backward ? 2 : 4;
  for (std::uint32_t begin = first + place.y; begin < end; begin += together * place.rows) {
    Packet<T, N> of_x[together], of_dy[together];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const std::uint32_t row = begin + i * place.rows;
      if (row >= end) continue;
      const std::uint32_t slot = rows_before + row - first, at = (item.group * task.rows + row) * task.channels + place.channel;
      if (!first_pass && slot < task.cached_rows) {
        of_x[i] = cached_x[slot * task.width + place.x];
        if constexpr (backward) of_dy[i] = cached_dy[slot * task.width + place.x];
      } else {
        of_x[i] = *reinterpret_cast<const Packet<T, N>*>(x + at);
        if constexpr (backward) of_dy[i] = *reinterpret_cast<const Packet<T, N>*>(dy + at);
      }
    }
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const std::uint32_t row = begin + i * place.rows;
      if (row >= end) continue;
      const std::uint32_t slot = rows_before + row - first, at = (item.group * task.rows + row) * task.channels + place.channel;
      if (first_pass && slot < task.cached_rows) {
        cached_x[slot * task.width + place.x] = of_x[i];
        if constexpr (backward) cached_dy[slot * task.width + place.x] = of_dy[i];
      }
      float x_values[N], dy_values[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        x_values[k] = widened(of_x[i].at[k]);
        dy_values[k] = backward ? widened(of_dy[i].at[k]) : 0.0f;
      }
      visit(x_values, dy_values, at);
    }
  }
}

// Adds two sums of each channel over the threads that share it; in y == 0 afterwards. A tile's row has at most `threads`
// packets.
template <int N>
__device__ inline void add_over_rows(const Task& task, const Place<N>& place, float (&a)[N], float (&b)[N]) {
  __shared__ float columns[2][threads / 2];  // a tile has at most 128 bytes: 64 channels, and 4 rows of them at a time
  // Lanes of a warp that hold the same channels first, where the width is a power of two below 32.
  const std::uint32_t width = task.width;
  if ((width & (width - 1)) == 0 && width < 32) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      for (std::uint32_t distance = 16; distance >= width; distance /= 2) {
        a[k] += __shfl_xor_sync(0xFFFFFFFFu, a[k], static_cast<int>(distance));
        b[k] += __shfl_xor_sync(0xFFFFFFFFu, b[k], static_cast<int>(distance));
      }
    }
  }
  // Then the rows of threads, a quarter of the remaining ones at a time.
  const bool by_warps = (width & (width - 1)) == 0 && width < 32;
  const std::uint32_t step = by_warps ? 32 / width : 1;  // rows that a warp has summed
  const std::uint32_t sums = (place.rows + step - 1) / step, lanes = width * N, at_once = max(1u, (threads / 2) / lanes);
  const std::uint32_t own = place.y / step;
  const bool holds = place.y % step == 0 && place.y < place.rows;
  float total_a[N] = {}, total_b[N] = {};
  for (std::uint32_t begin = 0; begin < sums; begin += at_once) {
    __syncthreads();
    if (holds && own >= begin && own < begin + at_once) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        columns[0][(own - begin) * lanes + k * width + place.x] = a[k];
        columns[1][(own - begin) * lanes + k * width + place.x] = b[k];
      }
    }
    __syncthreads();
    if (place.y == 0) {
      for (std::uint32_t r = 0; r < min(at_once, sums - begin); ++r) {
#pragma unroll
        for (int k = 0; k < N; ++k) {
          total_a[k] += columns[0][r * lanes + k * width + place.x];
          total_b[k] += columns[1][r * lanes + k * width + place.x];
        }
      }
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) a[k] = total_a[k], b[k] = total_b[k];
}

__device__ inline float* partial_of(const Task& task, std::uint32_t group, std::uint32_t chunk, int which) {
  return task.partial + ((group * task.chunks + chunk) * 2 + which) * task.channels;
}

template <typename T, int N>
__global__ void __launch_bounds__(threads, 1) forward(const __grid_constant__ Task task) {
  __shared__ float scale_of[threads], shift_of[threads];
  std::uint32_t rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    const std::uint32_t first = item.chunk * task.chunk_rows, end = min(task.rows, first + task.chunk_rows);
    // About the chunk's first row, so that a large mean costs no digits.
    float origin[N] = {}, sum[N] = {}, squares[N] = {};
    if (place.inside) {
      load(static_cast<const T*>(task.x) + (item.group * task.rows + first) * task.channels + place.channel, origin);
      for_each_row<T, N, false, true>(task, item, place, rows_before,
                                      [&](const float(&x)[N], const float(&)[N], std::uint32_t) {
#pragma unroll
                                        for (int k = 0; k < N; ++k) {
                                          const float deviation = x[k] - origin[k];
                                          sum[k] += deviation;
                                          squares[k] = fmaf(deviation, deviation, squares[k]);
                                        }
                                      });
    }
    add_over_rows<N>(task, place, sum, squares);
    if (place.inside && place.y == 0) {
      const auto count = static_cast<float>(end - first);
      float mean[N], about_mean[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float offset = sum[k] / count;
        mean[k] = origin[k] + offset;
        about_mean[k] = fmaxf(fmaf(-offset, sum[k], squares[k]), 0.0f);
      }
      store(partial_of(task, item.group, item.chunk, 0) + place.channel, mean);
      store(partial_of(task, item.group, item.chunk, 1) + place.channel, about_mean);
    }
  }
  if (task.chunks > 1) {
    cooperative_groups::this_grid().sync();
  } else {
    __syncthreads();
  }
  rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    // The chunks' statistics become the group's (Chan, Golub & LeVeque 1979), in their order.
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    __syncthreads();
    if (threadIdx.x < task.width * N && channel < task.channels) {
      const auto total = static_cast<float>(task.rows);
      const auto count_of = [&](std::uint32_t chunk) {
        return static_cast<float>(min(task.chunk_rows, task.rows - chunk * task.chunk_rows));
      };
      const float origin = __ldcg(partial_of(task, item.group, 0, 0) + channel);
      float offset = 0, squares = 0;
      for (std::uint32_t chunk = 1; chunk < task.chunks; ++chunk) {
        offset = fmaf(__ldcg(partial_of(task, item.group, chunk, 0) + channel) - origin, count_of(chunk), offset);
      }
      const float mean = origin + offset / total;
      for (std::uint32_t chunk = 0; chunk < task.chunks; ++chunk) {
        const float deviation = __ldcg(partial_of(task, item.group, chunk, 0) + channel) - mean;
        squares += fmaf(deviation * deviation, count_of(chunk), __ldcg(partial_of(task, item.group, chunk, 1) + channel));
      }
      const float variance = squares / total;
      if (item.chunk == 0) {
        task.mean[item.group * task.channels + channel] = mean;
        task.variance[item.group * task.channels + channel] = variance;
      }
      const float scale = task.gamma[channel] / sqrtf(variance + task.epsilon);
      scale_of[threadIdx.x] = scale;
      shift_of[threadIdx.x] = mean;
    }
    __syncthreads();
    if (!place.inside) continue;
    float scale[N], mean[N], beta[N];
    load(task.beta + place.channel, beta);
#pragma unroll
    for (int k = 0; k < N; ++k) scale[k] = scale_of[place.x * N + k], mean[k] = shift_of[place.x * N + k];
    for_each_row<T, N, false, false>(task, item, place, rows_before,
                                     [&](const float(&x)[N], const float(&)[N], std::uint32_t at) {
                                       float y[N];
#pragma unroll
                                       for (int k = 0; k < N; ++k) {
                                         y[k] = activate(task.activation, task.slope, fmaf(x[k] - mean[k], scale[k], beta[k]));
                                       }
                                       store(static_cast<T*>(task.y) + at, y);
                                     });
  }
}

// What a thread knows of its channels in the backward pass.
template <int N>
struct Channels {
  float mean[N], scale[N], beta[N];  // scale: gamma over the deviation
  __device__ Channels(const Task& task, std::uint32_t group, std::uint32_t channel) {
    float variance[N], gamma[N];
    load(task.mean + group * task.channels + channel, mean);
    load(task.variance + group * task.channels + channel, variance);
    load(task.gamma + channel, gamma);
    load(task.beta + channel, beta);
#pragma unroll
    for (int k = 0; k < N; ++k) scale[k] = gamma[k] / sqrtf(variance[k] + task.epsilon);
  }
  // The gradient before the activation, where x is `centred` away from the mean.
  __device__ float upstream(const Task& task, float centred, float dy, int k) const {
    return dy * activation_slope(task.activation, task.slope, fmaf(centred, scale[k], beta[k]));
  }
};

template <typename T, int N>
__global__ void __launch_bounds__(threads, 1) backward(const __grid_constant__ Task task) {
  __shared__ float sum_of[threads], product_of[threads];
  std::uint32_t rows_before = 0;
  for (std::uint32_t index = blockIdx.x; index < task.items; index += gridDim.x, rows_before += task.chunk_rows) {
    const Item item(task, index);
    const Place<N> place(task, item.tile);
    float sum[N] = {}, product[N] = {};
    if (place.inside) {
      const Channels<N> channels(task, item.group, place.channel);
      for_each_row<T, N, true, true>(task, item, place, rows_before,
                                     [&](const float(&x)[N], const float(&dy)[N], std::uint32_t) {
#pragma unroll
                                       for (int k = 0; k < N; ++k) {
                                         const float centred = x[k] - channels.mean[k];
                                         const float upstream = channels.upstream(task, centred, dy[k], k);
                                         sum[k] += upstream;
                                         product[k] = fmaf(upstream, centred, product[k]);
                                       }
                                     });
    }
    add_over_rows<N>(task, place, sum, product);
    if (place.inside && place.y == 0) {
      store(partial_of(task, item.group, item.chunk, 0) + place.channel, sum);
      store(partial_of(task, item.group, item.chunk, 1) + place.channel, product);
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
    const std::uint32_t channel = item.tile * task.width * N + threadIdx.x;
    __syncthreads();
    if (threadIdx.x < task.width * N && channel < task.channels) {
      // The first item of a tile writes the sums over all groups.
      const bool writes = item.group == 0 && item.chunk == 0;
      float all_sums = 0, all_products = 0;  // of dy, and of dy times normalised x
      for (std::uint32_t group = writes ? 0 : item.group; group < (writes ? task.groups : item.group + 1); ++group) {
        float sum = 0, product = 0;
        for (std::uint32_t chunk = 0; chunk < task.chunks; ++chunk) {
          sum += __ldcg(partial_of(task, group, chunk, 0) + channel);
          product += __ldcg(partial_of(task, group, chunk, 1) + channel);
        }
        const float inverse = 1.0f / sqrtf(task.variance[group * task.channels + channel] + task.epsilon);
        const auto count = static_cast<float>(task.rows);
        if (group == item.group) {
          sum_of[threadIdx.x] = sum / count;
          product_of[threadIdx.x] = product * inverse * inverse / count;
        }
        all_sums += sum;
        all_products = fmaf(product, inverse, all_products);
      }
      if (writes) task.dbeta[channel] = all_sums, task.dgamma[channel] = all_products;
    }
    __syncthreads();
    if (!place.inside) continue;
    const Channels<N> channels(task, item.group, place.channel);
    float sum[N], product[N];  // a row's share of each, the latter over the variance
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = sum_of[place.x * N + k], product[k] = product_of[place.x * N + k];
    for_each_row<T, N, true, false>(task, item, place, rows_before,
                                    [&](const float(&x)[N], const float(&dy)[N], std::uint32_t at) {
                                      float dx[N];
#pragma unroll
                                      for (int k = 0; k < N; ++k) {
                                        const float centred = x[k] - channels.mean[k];
                                        const float upstream = channels.upstream(task, centred, dy[k], k);
                                        dx[k] = channels.scale[k] * (upstream - sum[k] - centred * product[k]);
                                      }
                                      store(static_cast<T*>(task.y) + at, dx);
                                    });
  }
}

template <typename T>
const void* kernel_for(BatchNorm::Kind kind, bool packets) {
  constexpr int n = 16 / sizeof(T);
  if (kind == BatchNorm::Kind::forward) {
    return packets ? reinterpret_cast<const void*>(forward<T, n>) : reinterpret_cast<const void*>(forward<T, 1>);
  }
  return packets ? reinterpret_cast<const void*>(backward<T, n>) : reinterpret_cast<const void*>(backward<T, 1>);
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
    task_.activation = spec.activation.kind;
    task_.slope = spec.activation.slope;
    const std::uint32_t packet = task_.channels % (16 / element) == 0 ? 16 / element : 1;
    task_.width = std::min(task_.channels / packet, tile_bytes / element / packet);
    task_.tiles = up(task_.channels / packet, task_.width);
    kernel_ = spec.x.type == DType::f32 ? kernel_for<float>(kind_, packet > 1) : kernel_for<__nv_bfloat16>(kind_, packet > 1);

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
