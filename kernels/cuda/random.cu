// Random draws: a thread makes the four numbers of a Philox block and stores them as one packet. Limited by integer arithmetic
// rather than memory. The same bits as on the CPU: no product and sum are fused.
#include <cmath>
#include <cstring>

#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"
#include "kernels/philox.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;

// fp32 whose operators round each on its own, and words that go with it. The header's templates are for hosts as well.
struct Number {
  float value;
  __host__ __device__ explicit Number(float number) : value(number) {}
};
#ifdef __CUDA_ARCH__
#define GANNET_ROUNDED(device, host) Number(device)
#else
#define GANNET_ROUNDED(device, host) Number(host)
#endif
__host__ __device__ inline Number operator+(Number a, Number b) {
  return GANNET_ROUNDED(__fadd_rn(a.value, b.value), a.value + b.value);
}
__host__ __device__ inline Number operator-(Number a, Number b) {
  return GANNET_ROUNDED(__fsub_rn(a.value, b.value), a.value - b.value);
}
__host__ __device__ inline Number operator*(Number a, Number b) {
  return GANNET_ROUNDED(__fmul_rn(a.value, b.value), a.value * b.value);
}
__host__ __device__ inline Number square_root(Number x) { return GANNET_ROUNDED(__fsqrt_rn(x.value), std::sqrt(x.value)); }
#undef GANNET_ROUNDED

struct Word {
  std::uint32_t bits;
  Word() = default;
  __host__ __device__ explicit Word(std::uint32_t word) : bits(word) {}
};
__host__ __device__ inline Word operator+(Word a, Word b) { return Word(a.bits + b.bits); }
__host__ __device__ inline Word operator-(Word a, Word b) { return Word(a.bits - b.bits); }
__host__ __device__ inline Word operator&(Word a, Word b) { return Word(a.bits & b.bits); }
__host__ __device__ inline Word operator|(Word a, Word b) { return Word(a.bits | b.bits); }
__host__ __device__ inline Word operator^(Word a, Word b) { return Word(a.bits ^ b.bits); }
__host__ __device__ inline Word operator~(Word a) { return Word(~a.bits); }
__host__ __device__ inline Word operator<<(Word a, int by) { return Word(a.bits << by); }
__host__ __device__ inline Word operator>>(Word a, int by) { return Word(a.bits >> by); }
__host__ __device__ inline void multiply_wide(Word a, std::uint32_t b, Word& high, Word& low) {
  const std::uint64_t product = std::uint64_t{a.bits} * b;
  high = Word(static_cast<std::uint32_t>(product >> 32));
  low = Word(static_cast<std::uint32_t>(product));
}
__host__ __device__ inline Number to_number(Word word) { return Number(static_cast<float>(word.bits)); }
__host__ __device__ inline Word bits_of(Number x) {
  Word word;
  memcpy(&word.bits, &x.value, 4);
  return word;
}
__host__ __device__ inline Number number_of_bits(Word word) {
  Number x(0.0f);
  memcpy(&x.value, &word.bits, 4);
  return x;
}

struct Task {
  const std::int32_t* step;
  void* output;
  std::int64_t elements;
  float a, scale;
  std::uint32_t key_low, key_high, stream;
  std::uint32_t first_block;  // of the draw
  int skipped;                // elements of it
};

template <Random::Distribution distribution, typename T>
__global__ void __launch_bounds__(threads) draw(const __grid_constant__ Task task) {
  const std::int64_t block = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x, first = 4 * block - task.skipped;
  if (first >= task.elements) return;
  const philox::Block<Word> counter{{Word(task.first_block + static_cast<std::uint32_t>(block)), Word(task.stream),
                                     Word(static_cast<std::uint32_t>(*task.step)), Word(0u)}};
  const philox::Block<Word> words = philox::generate(counter, task.key_low, task.key_high);
  float values[4];
  const auto put = [&](int i, Number x) { values[i] = (Number(task.a) + Number(task.scale) * x).value; };
  if constexpr (distribution == Random::Distribution::uniform) {
#pragma unroll
    for (int i = 0; i < 4; ++i) put(i, philox::uniform<Number>(words.word[i]));
  } else {
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
      Number x(0.0f), y(0.0f);
      philox::normal_pair(words.word[pair], words.word[pair + 1], x, y);
      put(pair, x);
      put(pair + 1, y);
    }
  }
  auto* output = static_cast<T*>(task.output) + first;
  if (task.skipped == 0 && first + 4 <= task.elements) {
    store(output, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (first + i >= 0 && first + i < task.elements) output[i] = narrowed<T>(values[i]);
  }
}

template <typename T>
auto kernel_of(Random::Distribution distribution) {
  return distribution == Random::Distribution::uniform ? draw<Random::Distribution::uniform, T>
                                                       : draw<Random::Distribution::normal, T>;
}

class RandomKernel final : public Kernel {
 public:
  RandomKernel(const Random& spec, const Device& device)
      : kernel_(spec.output.type == DType::f32 ? kernel_of<float>(spec.distribution)
                                               : kernel_of<__nv_bfloat16>(spec.distribution)),
        stream_(device.stream) {
    task_.elements = spec.output.elements();
    task_.a = spec.a;
    task_.scale = spec.distribution == Random::Distribution::uniform ? spec.b - spec.a : spec.b;
    task_.key_low = static_cast<std::uint32_t>(spec.seed);
    task_.key_high = static_cast<std::uint32_t>(spec.seed >> 32);
    task_.stream = spec.stream;
    task_.first_block = static_cast<std::uint32_t>(spec.first / 4);
    task_.skipped = static_cast<int>(spec.first % 4);
  }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.step = static_cast<const std::int32_t*>(arguments.inputs[0]);
    task.output = arguments.outputs[0];
    const auto blocks = static_cast<unsigned int>((task.elements + task.skipped + 4 * threads - 1) / (4 * threads));
    kernel_<<<blocks, threads, 0, stream_>>>(task);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  void (*kernel_)(Task);
  cudaStream_t stream_;
  Task task_{};
};

}  // namespace

std::unique_ptr<Kernel> make_random(const Random& spec, const Device& device) {
  return std::make_unique<RandomKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda
