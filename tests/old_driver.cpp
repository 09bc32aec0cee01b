// Answers for the CUDA runtime as it does beside a driver of CUDA 12.4: loaded by LD_PRELOAD.
extern "C" {

int cudaDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}
int cudaGetDeviceCount(int* devices) {
  *devices = 0;
  return 35;  // cudaErrorInsufficientDriver
}

}  // extern "C"
