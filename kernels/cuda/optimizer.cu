// Optimizer updates of all tensors of a player in one launch, and moving averages in one. Limited by memory: every tensor is
// read and written once. Whether all gradients are finite has to be known before the first update: blocks look at theirs, keep
// them in shared memory, wait for each other (a cooperative launch) and then update. What does not fit there is read again.
#include <cooperative_groups.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/device_array.h"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {
namespace {

using Kind = OptimizerUpdate::Kind;

constexpr int threads = 512;
constexpr int blocks_per_multiprocessor = 2;
constexpr int packets = 2;  // that a thread takes of a chunk
constexpr std::uint32_t chunk_elements = threads * packets * 4;
constexpr int all_finite = 0x7FFFFFFF;  // above every tensor's index

// Neighbouring elements of one tensor.
struct Chunk {
  std::uint32_t tensor, first, count;
};

std::vector<Chunk> chunks_of(const std::vector<TensorDesc>& parameters) {
  std::vector<Chunk> chunks;
  for (std::size_t t = 0; t < parameters.size(); ++t) {
    const auto elements = static_cast<std::uint32_t>(parameters[t].elements());
    for (std::uint32_t first = 0; first < elements; first += chunk_elements) {
      chunks.push_back({static_cast<std::uint32_t>(t), first, std::min(chunk_elements, elements - first)});
    }
  }
  return chunks;
}

// The tensors' pointers, so many for each. They are a parameter of the kernel, or lie in the workspace where they are too many,
// put there by launches of their own.
constexpr int max_pointers = 448;
struct PointerList {
  void* at[max_pointers];
};
__global__ void put(const __grid_constant__ PointerList list, void** to, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = list.at[i];
}

class Pointers {
 public:
  explicit Pointers(std::size_t count) : count_(count) {}
  std::size_t workspace_bytes() const { return count_ <= max_pointers ? 0 : (count_ * sizeof(void*) + 255) / 256 * 256; }
  // Fills the parameter and returns null, or the workspace and returns that.
  template <typename PointerOf>
  void* const* set(PointerList& list, void* workspace, cudaStream_t stream, PointerOf pointer_of) const {
    auto** to = static_cast<void**>(workspace);
    for (std::size_t begin = 0; begin < count_; begin += max_pointers) {
      const std::size_t part = std::min<std::size_t>(max_pointers, count_ - begin);
      for (std::size_t i = 0; i < part; ++i) list.at[i] = const_cast<void*>(pointer_of(begin + i));
      if (count_ <= max_pointers) return nullptr;
      put<<<1, 256, 0, stream>>>(list, to + begin, static_cast<int>(part));
      GANNET_CUDA(cudaGetLastError());
    }
    return to;
  }

 private:
  std::size_t count_;
};

// Four elements, of which `count` exist.
__device__ inline void load_some(const float* from, std::uint32_t count, float (&values)[4]) {
  if (count >= 4) {
    load(from, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = i < count ? from[i] : 0.0f;
}
__device__ inline void store_some(float* to, std::uint32_t count, const float (&values)[4]) {
  if (count >= 4) {
    store(to, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i < count) to[i] = values[i];
  }
}

// The least over the block, in every thread.
__device__ inline int least_of_block(int value) {
  __shared__ int of_warp[threads / 32];
  value = __reduce_min_sync(0xFFFFFFFFu, value);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  return __reduce_min_sync(0xFFFFFFFFu, of_warp[threadIdx.x % (threads / 32)]);
}

struct Task {
  const float *learning_rate, *step;
  float* new_step;
  std::int32_t* nonfinite;
  const Chunk* chunks;
  std::uint32_t count;  // of chunks
  int tensors;
  std::uint32_t cached;              // chunks of gradients that a block keeps
  int* first_nonfinite;              // of each block: index of a tensor
  void* const* table;                // where the pointers do not fit below
  float log_beta1, log_beta2;        // natural
  float beta1, rest1, beta2, rest2;  // rest: 1 - beta
  float alpha, rest_alpha, momentum, epsilon, weight_decay;
  float counted;         // 1, or 0 where the step is not to be counted
  PointerList pointers;  // of each tensor: parameter, gradient, moments; new parameter, new moments
};

// What all elements of an update share.
struct Rates {
  float learning_rate;  // adam: over the first moment's bias
  float unbias;         // adam: one over the root of the second moment's bias
  bool first;           // no update was made before
};

template <Kind kind, bool momentum>
__device__ inline void update_element(const Task& task, const Rates& rates, float& parameter, float gradient, float& moment,
                                      float& other) {
  const float g = fmaf(task.weight_decay, parameter, gradient);
  float direction = g;
  if constexpr (kind == Kind::adam) {
    moment = fmaf(task.beta1, moment, task.rest1 * g);
    other = fmaf(task.beta2, other, task.rest2 * g * g);
    direction = moment / fmaf(sqrtf(other), rates.unbias, task.epsilon);
  } else if constexpr (kind == Kind::rmsprop) {
    moment = fmaf(task.alpha, moment, task.rest_alpha * g * g);
    direction = g / (sqrtf(moment) + task.epsilon);
    if constexpr (momentum) direction = other = fmaf(task.momentum, other, direction);
  } else if constexpr (momentum) {
    direction = moment = rates.first ? g : fmaf(task.momentum, moment, g);
  }
  parameter = fmaf(-rates.learning_rate, direction, parameter);
}

template <Kind kind, bool momentum>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor) update(const __grid_constant__ Task task) {
  constexpr int moments = kind == Kind::adam ? 2 : kind == Kind::rmsprop ? (momentum ? 2 : 1) : (momentum ? 1 : 0);
  constexpr int per_tensor = 3 + 2 * moments;
  extern __shared__ Packet<float, 4> cached[];
  void* const* pointers = task.table != nullptr ? task.table : task.pointers.at;

  int first_nonfinite = all_finite;
  std::uint32_t slot = 0;
  for (std::uint32_t c = blockIdx.x; c < task.count; c += gridDim.x, ++slot) {
    const Chunk chunk = task.chunks[c];
    const auto* gradient = static_cast<const float*>(pointers[chunk.tensor * per_tensor + 1]) + chunk.first;
    Packet<float, 4> values[packets];
#pragma unroll
    for (int p = 0; p < packets; ++p) {
      const std::uint32_t at = (p * threads + threadIdx.x) * 4;
      values[p] = {};
      if (at < chunk.count) load_some(gradient + at, chunk.count - at, values[p].at);
    }
#pragma unroll
    for (int p = 0; p < packets; ++p) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (!isfinite(values[p].at[k])) first_nonfinite = min(first_nonfinite, static_cast<int>(chunk.tensor));
      }
      if (slot < task.cached) cached[(slot * packets + p) * threads + threadIdx.x] = values[p];
    }
  }
  first_nonfinite = least_of_block(first_nonfinite);
  if (threadIdx.x == 0) task.first_nonfinite[blockIdx.x] = first_nonfinite;
  const float step = *task.step, learning_rate = *task.learning_rate;
  cooperative_groups::this_grid().sync();

  first_nonfinite = all_finite;
  for (std::uint32_t b = threadIdx.x; b < gridDim.x; b += threads) {
    first_nonfinite = min(first_nonfinite, __ldcg(task.first_nonfinite + b));
  }
  first_nonfinite = least_of_block(first_nonfinite);
  if (step < 0) first_nonfinite = min(first_nonfinite, task.tensors);
  const bool updates = first_nonfinite == all_finite;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *task.new_step = updates ? step + task.counted : -1;
    *task.nonfinite = updates ? 0 : first_nonfinite + 1;
  }
  Rates rates{learning_rate, 1, step == 0};
  if constexpr (kind == Kind::adam) {
    // 1 - beta^t without cancellation.
    rates.learning_rate = learning_rate / -expm1f((step + 1) * task.log_beta1);
    rates.unbias = 1.0f / sqrtf(-expm1f((step + 1) * task.log_beta2));
  }
  slot = 0;
  for (std::uint32_t c = blockIdx.x; c < task.count; c += gridDim.x, ++slot) {
    const Chunk chunk = task.chunks[c];
    void* const* own = pointers + chunk.tensor * per_tensor;
    const auto tensor = [&](int i) { return static_cast<float*>(own[i]) + chunk.first; };
#pragma unroll
    for (int p = 0; p < packets; ++p) {
      const std::uint32_t at = (p * threads + threadIdx.x) * 4;
      if (at >= chunk.count) continue;
      const std::uint32_t left = chunk.count - at;
      Packet<float, 4> gradient;
      float parameter[4], moment[4] = {}, other[4] = {};
      load_some(tensor(0) + at, left, parameter);
      if constexpr (moments > 0) load_some(tensor(2) + at, left, moment);
      if constexpr (moments > 1) load_some(tensor(3) + at, left, other);
      if (slot < task.cached) {
        gradient = cached[(slot * packets + p) * threads + threadIdx.x];
      } else {
        load_some(tensor(1) + at, left, gradient.at);
      }
      if (updates) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          update_element<kind, momentum>(task, rates, parameter[k], gradient.at[k], moment[k], other[k]);
        }
      }
      store_some(tensor(2 + moments) + at, left, parameter);
      if constexpr (moments > 0) store_some(tensor(3 + moments) + at, left, moment);
      if constexpr (moments > 1) store_some(tensor(4 + moments) + at, left, other);
    }
  }
}

using UpdateKernel = void (*)(Task);
UpdateKernel kernel_for(const OptimizerUpdate& spec) {
  const bool momentum = spec.momentum > 0;
  switch (spec.kind) {
    case Kind::adam:
      return update<Kind::adam, false>;
    case Kind::rmsprop:
      return momentum ? update<Kind::rmsprop, true> : update<Kind::rmsprop, false>;
    case Kind::sgd:
      return momentum ? update<Kind::sgd, true> : update<Kind::sgd, false>;
  }
  refuse("[optimizer update] there is no such kind");
}

class OptimizerKernel final : public Kernel {
 public:
  OptimizerKernel(const OptimizerUpdate& spec, const Device& device)
      : kernel_(kernel_for(spec)),
        moments_(static_cast<std::size_t>(spec.moments())),
        pointers_(spec.parameters.size() * (3 + 2 * moments_)),
        chunks_(chunks_of(spec.parameters), device),
        stream_(device.stream) {
    const auto rest = [](float x) { return static_cast<float>(1 - static_cast<double>(x)); };
    task_.chunks = chunks_.data();
    task_.count = static_cast<std::uint32_t>(chunks_of(spec.parameters).size());
    task_.tensors = static_cast<int>(spec.parameters.size());
    task_.log_beta1 = static_cast<float>(std::log(static_cast<double>(spec.beta1)));
    task_.log_beta2 = static_cast<float>(std::log(static_cast<double>(spec.beta2)));
    task_.beta1 = spec.beta1, task_.rest1 = rest(spec.beta1);
    task_.beta2 = spec.beta2, task_.rest2 = rest(spec.beta2);
    task_.alpha = spec.alpha, task_.rest_alpha = rest(spec.alpha);
    task_.momentum = spec.momentum, task_.epsilon = spec.epsilon, task_.weight_decay = spec.weight_decay;
    task_.counted = spec.counts ? 1 : 0;

    cudaFuncAttributes attributes{};
    GANNET_CUDA(cudaFuncGetAttributes(&attributes, kernel_));
    // Blocks share what a multiprocessor has, of which each costs 1 KB more than it asks for.
    const std::size_t room = (device.shared_bytes + 1024) / blocks_per_multiprocessor - 1024 - attributes.sharedSizeBytes;
    const std::size_t chunk_bytes = chunk_elements * sizeof(float);
    GANNET_CUDA(cudaFuncSetAttribute(kernel_, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(room / chunk_bytes * chunk_bytes)));
    int resident = 0;
    GANNET_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel_, threads, room / chunk_bytes * chunk_bytes));
    if (resident < 1) refuse("[optimizer update] this device can not run its blocks");
    blocks_ = std::min(task_.count, static_cast<std::uint32_t>(resident * device.multiprocessors));
    task_.cached = std::min((task_.count + blocks_ - 1) / blocks_, static_cast<std::uint32_t>(room / chunk_bytes));
    shared_bytes_ = task_.cached * chunk_bytes;
  }

  std::size_t workspace_bytes() const override { return pointers_.workspace_bytes() + blocks_ * sizeof(int); }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.learning_rate = static_cast<const float*>(arguments.inputs[0]);
    task.step = static_cast<const float*>(arguments.inputs[1]);
    task.new_step = static_cast<float*>(arguments.outputs[0]);
    task.nonfinite = static_cast<std::int32_t*>(arguments.outputs[1]);
    task.first_nonfinite = reinterpret_cast<int*>(static_cast<char*>(arguments.workspace) + pointers_.workspace_bytes());
    const std::size_t inputs = 2 + moments_, outputs = 1 + moments_;
    task.table = pointers_.set(task.pointers, arguments.workspace, stream_, [&](std::size_t i) -> const void* {
      const std::size_t tensor = i / (inputs + outputs), which = i % (inputs + outputs);
      return which < inputs ? arguments.inputs[2 + tensor * inputs + which]
                            : arguments.outputs[2 + tensor * outputs + which - inputs];
    });
    void* parameters[] = {&task};
    GANNET_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel_), dim3(blocks_), dim3(threads), parameters,
                                            shared_bytes_, stream_));
  }

 private:
  UpdateKernel kernel_;
  std::size_t moments_;
  Pointers pointers_;
  DeviceArray<Chunk> chunks_;
  cudaStream_t stream_;
  Task task_{};
  std::uint32_t blocks_ = 1;
  std::size_t shared_bytes_ = 0;
};

struct EmaTask {
  const Chunk* chunks;
  void* const* table;
  float decay, rest;
  PointerList pointers;  // of each tensor: average, parameter, new average
};

__global__ void __launch_bounds__(threads) average(const __grid_constant__ EmaTask task) {
  const Chunk chunk = task.chunks[blockIdx.x];
  void* const* own = (task.table != nullptr ? task.table : task.pointers.at) + chunk.tensor * 3;
  const auto tensor = [&](int i) { return static_cast<float*>(own[i]) + chunk.first; };
  float averages[packets][4], parameters[packets][4];
#pragma unroll
  for (int p = 0; p < packets; ++p) {
    const std::uint32_t at = (p * threads + threadIdx.x) * 4;
    if (at >= chunk.count) continue;
    load_some(tensor(0) + at, chunk.count - at, averages[p]);
    load_some(tensor(1) + at, chunk.count - at, parameters[p]);
  }
#pragma unroll
  for (int p = 0; p < packets; ++p) {
    const std::uint32_t at = (p * threads + threadIdx.x) * 4;
    if (at >= chunk.count) continue;
#pragma unroll
    for (int k = 0; k < 4; ++k) averages[p][k] = fmaf(task.decay, averages[p][k], task.rest * parameters[p][k]);
    store_some(tensor(2) + at, chunk.count - at, averages[p]);
  }
}

class EmaKernel final : public Kernel {
 public:
  EmaKernel(const EmaUpdate& spec, const Device& device)
      : pointers_(3 * spec.parameters.size()), chunks_(chunks_of(spec.parameters), device), stream_(device.stream) {
    task_.chunks = chunks_.data();
    task_.decay = spec.decay;
    task_.rest = static_cast<float>(1 - static_cast<double>(spec.decay));
    blocks_ = static_cast<unsigned int>(chunks_of(spec.parameters).size());
  }

  std::size_t workspace_bytes() const override { return pointers_.workspace_bytes(); }

  void run(const Arguments& arguments) override {
    EmaTask task = task_;
    task.table = pointers_.set(task.pointers, arguments.workspace, stream_, [&](std::size_t i) -> const void* {
      return i % 3 < 2 ? arguments.inputs[i / 3 * 2 + i % 3] : arguments.outputs[i / 3];
    });
    average<<<blocks_, threads, 0, stream_>>>(task);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  Pointers pointers_;
  DeviceArray<Chunk> chunks_;
  cudaStream_t stream_;
  EmaTask task_{};
  unsigned int blocks_ = 1;
};

struct CopyTask {
  const Chunk* chunks;
  void* const* table;
  PointerList pointers;  // of each tensor: parameter, copy
};

__global__ void __launch_bounds__(threads) copy_to_bf16(const __grid_constant__ CopyTask task) {
  const Chunk chunk = task.chunks[blockIdx.x];
  void* const* own = (task.table != nullptr ? task.table : task.pointers.at) + chunk.tensor * 2;
  const auto* from = static_cast<const float*>(own[0]) + chunk.first;
  auto* to = static_cast<__nv_bfloat16*>(own[1]) + chunk.first;
  // Eight at a time: 16 bytes to write.
  const std::uint32_t at = threadIdx.x * 8;
  static_assert(packets * 4 == 8);
  if (at + 8 <= chunk.count) {
    float values[8];
    load(from + at, values);
    store(to + at, values);
  } else {
    for (std::uint32_t i = at; i < chunk.count; ++i) to[i] = __float2bfloat16_rn(from[i]);
  }
}

class Bf16CopiesKernel final : public Kernel {
 public:
  Bf16CopiesKernel(const Bf16Copies& spec, const Device& device)
      : pointers_(2 * spec.parameters.size()), chunks_(chunks_of(spec.parameters), device), stream_(device.stream) {
    blocks_ = static_cast<unsigned int>(chunks_of(spec.parameters).size());
  }

  std::size_t workspace_bytes() const override { return pointers_.workspace_bytes(); }

  void run(const Arguments& arguments) override {
    CopyTask task{};
    task.chunks = chunks_.data();
    task.table = pointers_.set(task.pointers, arguments.workspace, stream_, [&](std::size_t i) -> const void* {
      return i % 2 == 0 ? arguments.inputs[i / 2] : arguments.outputs[i / 2];
    });
    copy_to_bf16<<<blocks_, threads, 0, stream_>>>(task);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  Pointers pointers_;
  DeviceArray<Chunk> chunks_;
  cudaStream_t stream_;
  unsigned int blocks_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make_optimizer_update(const OptimizerUpdate& spec, const Device& device) {
  return std::make_unique<OptimizerKernel>(spec, device);
}

std::unique_ptr<Kernel> make_ema_update(const EmaUpdate& spec, const Device& device) {
  return std::make_unique<EmaKernel>(spec, device);
}

std::unique_ptr<Kernel> make_bf16_copies(const Bf16Copies& spec, const Device& device) {
  return std::make_unique<Bf16CopiesKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda
