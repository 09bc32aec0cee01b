// Kernels whose speed under gannet-sim speed.py measures: speed KERNEL ROUNDS BLOCKS. Prints the seconds of wall and of CPU
// time that the launch took.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

constexpr int kThreads = 256;

// Hashing: logic, shifts, multiplications, comparisons and selections on four independent values, one load and one store of
// each warp in about 40 instructions.
__global__ void integer(const std::uint32_t* in, std::uint32_t* out, int rounds, int stride) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  std::uint32_t a = at, b = ~at, c = at * 3u, d = 7u;
  for (int n = 0; n < rounds; ++n) {
    const std::uint32_t x = in[at + (n & 7) * stride];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      a = a * 1664525u + x;
      b = (b ^ (a >> 13)) + d;
      c = c > b ? c - b : c + a;
      d = (d << 3 | d >> 29) ^ c;
    }
    out[at] = a ^ b ^ c ^ d;
  }
}

// A polynomial and a running maximum of each element, as in the element-wise kernels of neural networks.
__global__ void floating(const float* in, float* out, int rounds, int stride) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0, top = -1e30f;
  for (int n = 0; n < rounds; ++n) {
    const float x = in[at + (n & 7) * stride];
    float y = 0.25f;
#pragma unroll
    for (int k = 0; k < 8; ++k) y = fmaf(y, x, 0.5f + k);
    const float z = x > 0 ? y * x : y * 0.01f;
    top = fmaxf(top, z);
    sum += z * z + y;
    out[at] = sum - top;
  }
}

// A tile of 16 x 16 of a product of matrices, from shared memory.
__global__ void tile(const float* in, float* out, int rounds, int stride) {
  __shared__ float left[16][16], right[16][16];
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
  for (int n = 0; n < rounds; ++n) {
    left[y][x] = in[at + (n & 7) * stride];
    right[y][x] = in[at + ((n + 3) & 7) * stride];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) sum = fmaf(left[y][k], right[k][x], sum);
    __syncthreads();
  }
  out[at] = sum;
}

// A tree of sums in a warp and then in the block: shuffles, short divergent ends.
__global__ void reduction(const float* in, float* out, int rounds, int stride) {
  __shared__ float partial[8];
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  float total = 0;
  for (int n = 0; n < rounds; ++n) {
    float x = in[at + (n & 7) * stride];
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    if (threadIdx.x < 8) total += partial[threadIdx.x];
    __syncthreads();
  }
  out[at] = total;
}

// Sixteen tensor-core products a round, on fragments that stay in registers.
__global__ void mma(const float* in, float* out, int rounds, int) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  std::uint32_t a[4], b[2];
  for (int k = 0; k < 4; ++k) a[k] = 0x3f803f00u + (at * 37u + k) % 64;
  for (int k = 0; k < 2; ++k) b[k] = 0x3e80bf00u + (at * 11u + k) % 64;
  float c[4][4] = {};
  c[0][0] = in[at];
  for (int n = 0; n < rounds; ++n) {
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      float* d = c[k % 4];
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }
  float sum = 0;
  for (auto& row : c)
    for (const float value : row) sum += value;
  out[at] = sum;
}

static double seconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: speed KERNEL ROUNDS BLOCKS\n");
    return 1;
  }
  const std::string name = argv[1];
  const int rounds = std::atoi(argv[2]), blocks = std::atoi(argv[3]);
  const int stride = blocks * kThreads;
  std::vector<float> values(std::size_t{8} * stride);
  for (std::size_t n = 0; n < values.size(); ++n) values[n] = static_cast<float>(n % 1000) / 500 - 1;
  float *in = nullptr, *out = nullptr;
  cudaMalloc(&in, values.size() * sizeof(float));
  cudaMalloc(&out, stride * sizeof(float));
  cudaMemcpy(in, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice);
  const auto launch = [&](int n, int grid) {
    if (name == "integer")
      integer<<<grid, kThreads>>>(reinterpret_cast<std::uint32_t*>(in), reinterpret_cast<std::uint32_t*>(out), n, stride);
    else if (name == "floating")
      floating<<<grid, kThreads>>>(in, out, n, stride);
    else if (name == "tile")
      tile<<<grid, kThreads>>>(in, out, n, stride);
    else if (name == "reduction")
      reduction<<<grid, kThreads>>>(in, out, n, stride);
    else if (name == "mma")
      mma<<<grid, kThreads>>>(in, out, n, stride);
    else
      return false;
    return cudaDeviceSynchronize() == cudaSuccess;
  };
  launch(1, 1);  // decodes the kernel
  const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  if (!launch(rounds, blocks)) {
    std::fprintf(stderr, "%s: no such kernel, or it failed: %s\n", name.c_str(), cudaGetErrorString(cudaGetLastError()));
    return 1;
  }
  std::printf("%.6f %.6f\n", seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  cudaFree(in);
  cudaFree(out);
  return 0;
}
