// Copies and memsets of one to three dimensions, in every direction, and what they refuse.
#include <cstring>
#include <numeric>

#include "check.h"

static std::vector<unsigned char> ramp(std::size_t n, int start = 0) {
  std::vector<unsigned char> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<unsigned char>(start + 7 * i);
  return v;
}

static void linear() {
  const auto in = ramp(5000);
  std::vector<unsigned char> out(5000, 0);
  unsigned char *a, *b, *pinned, *managed;
  OK(cudaMalloc(&a, 5000));
  OK(cudaMalloc(&b, 5000));
  OK(cudaMallocHost(&pinned, 5000));
  OK(cudaMallocManaged(&managed, 5000));
  OK(cudaMemcpy(a, in.data(), 5000, cudaMemcpyHostToDevice));
  OK(cudaMemcpy(b, a, 5000, cudaMemcpyDeviceToDevice));
  OK(cudaMemcpy(pinned, b, 5000, cudaMemcpyDeviceToHost));
  std::memset(managed, 0, 5000);
  OK(cudaMemcpy(managed, pinned, 5000, cudaMemcpyDefault));
  EXPECT(std::memcmp(managed, in.data(), 5000) == 0);
  OK(cudaMemcpy(out.data(), managed + 17, 100, cudaMemcpyDefault));
  EXPECT(std::memcmp(out.data(), in.data() + 17, 100) == 0);
  OK(cudaMemcpy(out.data(), in.data(), 5000, cudaMemcpyHostToHost));
  EXPECT(out == in);
  OK(cudaMemset(a, 0xab, 10));
  OK(cudaMemset(a + 4990, 0xcd, 10));
  OK(cudaMemcpy(out.data(), a, 5000, cudaMemcpyDeviceToHost));
  EXPECT(out[9] == 0xab && out[10] == in[10] && out[4989] == in[4989] && out[4990] == 0xcd);
  OK(cudaMemcpy(a, in.data(), 0, cudaMemcpyHostToDevice));
  OK(cudaFree(a));
  OK(cudaFree(b));
  OK(cudaFreeHost(pinned));
  OK(cudaFree(managed));
}

static void pitched() {
  constexpr std::size_t width = 100, height = 37;
  const auto in = ramp(width * height);
  std::vector<unsigned char> out(width * height);
  unsigned char* d;
  std::size_t pitch = 0;
  OK(cudaMallocPitch(&d, &pitch, width, height));
  EXPECT(pitch >= width && pitch % 32 == 0);
  OK(cudaMemset2D(d, pitch, 0x11, width, height));
  OK(cudaMemcpy2D(d + 3, pitch, in.data(), width, 50, height, cudaMemcpyHostToDevice));
  OK(cudaMemcpy2D(out.data(), width, d, pitch, width, height, cudaMemcpyDeviceToHost));
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t x = 0; x < width; ++x) EXPECT_EQ(out[y * width + x], x >= 3 && x < 53 ? in[y * width + x - 3] : 0x11);
  EXPECT_ERROR(cudaErrorInvalidPitchValue, cudaMemcpy2D(d, 49, in.data(), width, 50, 2, cudaMemcpyHostToDevice));
  OK(cudaFree(d));
}

static void boxes() {
  const cudaExtent extent = make_cudaExtent(24, 5, 4);
  cudaPitchedPtr d;
  OK(cudaMalloc3D(&d, extent));
  EXPECT(d.pitch >= 24 && d.ysize == 5);
  OK(cudaMemset3D(d, 0x22, extent));
  const auto in = ramp(24 * 5 * 4);
  std::vector<unsigned char> out(24 * 5 * 4);
  cudaMemcpy3DParms p{};
  p.srcPtr = make_cudaPitchedPtr(const_cast<unsigned char*>(in.data()), 24, 24, 5);
  p.dstPtr = d;
  p.srcPos = make_cudaPos(1, 1, 1);
  p.dstPos = make_cudaPos(4, 2, 0);
  p.extent = make_cudaExtent(10, 3, 2);
  p.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&p));
  cudaMemcpy3DParms back{};
  back.srcPtr = d;
  back.dstPtr = make_cudaPitchedPtr(out.data(), 24, 24, 5);
  back.extent = extent;
  back.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&back));
  for (std::size_t z = 0; z < 4; ++z)
    for (std::size_t y = 0; y < 5; ++y)
      for (std::size_t x = 0; x < 24; ++x) {
        const bool inside = x >= 4 && x < 14 && y >= 2 && z < 2;
        EXPECT_EQ(out[(z * 5 + y) * 24 + x], inside ? in[((z + 1) * 5 + y - 1) * 24 + x - 3] : 0x22);
      }
  OK(cudaFree(d.ptr));
}

/// The source of an asynchronous copy from pageable memory may be changed as soon as the call has returned; pinned memory may
/// not.
static void asynchronous() {
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  int *d, *pinned;
  OK(cudaMalloc(&d, 4));
  OK(cudaMallocHost(&pinned, 4));
  int host = 41;
  OK(cudaMemcpyAsync(d, &host, 4, cudaMemcpyHostToDevice, stream));
  host = 0;
  OK(cudaMemcpyAsync(&host, d, 4, cudaMemcpyDeviceToHost, stream));  // pageable: done on return
  EXPECT_EQ(host, 41);
  *pinned = 5;
  OK(cudaMemcpyAsync(d, pinned, 4, cudaMemcpyHostToDevice, stream));
  OK(cudaMemsetAsync(pinned, 0, 4, stream));
  OK(cudaMemcpyAsync(pinned, d, 4, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(*pinned, 5);
  OK(cudaFree(d));
  OK(cudaFreeHost(pinned));
  OK(cudaStreamDestroy(stream));
}

int main() {
  linear();
  pitched();
  boxes();
  asynchronous();
  return finish();
}
