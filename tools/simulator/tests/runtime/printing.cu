// Device printf: order, conversions, the host's own output before and after. Compared with printing.txt.
#include <cstdio>

__global__ void lines(const char* word) { printf("block %d thread %u: %s\n", blockIdx.x, threadIdx.x, word); }

__global__ void conversions() {
  printf("%5d|%-5d|%05d|%+d|%x|%#X|%o|%u\n", 42, 42, 42, 42, 255u, 255u, 8u, 4000000000u);
  printf("%ld %lld %llu %hd %hhd %zu\n", -5000000000l, -6000000000ll, 18000000000000000000ull, (short)-3, (char)-4,
         sizeof(double));
  printf("%f %.3f %e %10.2g %a\n", 3.25, 2.0 / 3.0, 12345.678, 0.00012345, 1.0);
  printf("%c%c%% %s %.3s %*d %p\n", 'o', 'k', "text", "abcdef", 6, 7, (void*)0x1234);
  printf("%d arguments\n", printf("none\n"));
  printf("%d %f %c %s %d %lld\n", 1, 2.5, 'c', "tail", 3, 4ll);
  printf("a float %f, an int64 %lld, a char %c\n", 1.5f, (long long)1 << 40, 'z');
}

__global__ void name(char* to) {
  const char text[] = "from memory";
  for (int i = 0; i < (int)sizeof text; ++i) to[i] = text[i];
}

int main() {
  char* word;
  cudaMalloc(&word, 32);
  name<<<1, 1>>>(word);
  std::printf("begin\n");
  lines<<<3, 2>>>(word);
  cudaDeviceSynchronize();
  std::printf("between\n");
  conversions<<<1, 1>>>();
  cudaDeviceSynchronize();
  std::printf("end\n");
  return cudaFree(word) == cudaSuccess ? 0 : 1;
}
