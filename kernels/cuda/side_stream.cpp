#include "kernels/cuda/side_stream.h"

#include "kernels/cuda/event.h"

namespace gannet::kernels::cuda {
namespace {

class CudaWork final : public SideStream::Work {
 public:
  CudaWork(cudaStream_t compute, cudaStream_t side) : compute_(compute), side_(side) {}
  void begin() override {
    GANNET_CUDA(cudaEventRecord(before_, compute_));
    GANNET_CUDA(cudaStreamWaitEvent(side_, before_));
  }
  void end() override { GANNET_CUDA(cudaEventRecord(after_, side_)); }
  void await() override { GANNET_CUDA(cudaStreamWaitEvent(compute_, after_)); }

 private:
  cudaStream_t compute_, side_;
  Event before_, after_;
};

class CudaSideStream final : public SideStream {
 public:
  // Goes before the kernels where both want multiprocessors: other devices wait for what is done here.
  explicit CudaSideStream(const Device& device) : compute_(device.stream) {
    int least = 0, greatest = 0;
    GANNET_CUDA(cudaSetDevice(device.index));
    GANNET_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    GANNET_CUDA(cudaStreamCreateWithPriority(&side_, cudaStreamNonBlocking, greatest));
  }
  ~CudaSideStream() override { cudaStreamDestroy(side_); }
  CudaSideStream(const CudaSideStream&) = delete;
  CudaSideStream& operator=(const CudaSideStream&) = delete;

  void* stream() const override { return side_; }
  std::unique_ptr<Work> work() override { return std::make_unique<CudaWork>(compute_, side_); }

 private:
  cudaStream_t compute_, side_ = nullptr;
};

}  // namespace

std::unique_ptr<SideStream> make_side_stream(const Device& device) { return std::make_unique<CudaSideStream>(device); }

}  // namespace gannet::kernels::cuda
