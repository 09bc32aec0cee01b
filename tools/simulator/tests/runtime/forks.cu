// Children of a process: before it has used CUDA they may; after that their calls fail as on a device, and nothing waits.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "check.h"

__global__ void set(int* x) { *x = 7; }

void child_uses_cuda() {
  int *x, value = 0;
  OK(cudaMalloc(&x, 4));
  set<<<1, 1>>>(x);
  OK(cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 7);
  OK(cudaFree(x));
  std::exit(failures);
}

int exit_code_of(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main() {
  pid_t child = fork();
  if (child == 0) child_uses_cuda();
  EXPECT_EQ(exit_code_of(child), 0);
  int* x;
  OK(cudaMalloc(&x, 4));
  set<<<1, 1>>>(x);
  OK(cudaDeviceSynchronize());
  child = fork();
  if (child == 0) {
    int* y = nullptr;
    EXPECT_ERROR(cudaErrorInitializationError, cudaMalloc(&y, 4));
    set<<<1, 1>>>(x);
    EXPECT_ERROR(cudaErrorInitializationError, cudaGetLastError());
    EXPECT_ERROR(cudaErrorInitializationError, cudaDeviceSynchronize());
    std::exit(failures);
  }
  EXPECT_EQ(exit_code_of(child), 0);
  int value = 0;
  OK(cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 7);
  OK(cudaFree(x));
  return finish();
}
