#include "kernels/backend.h"

#include <utility>

namespace gannet::kernels {
namespace {

class HostRun final : public Run {
 public:
  HostRun(std::function<void()> kernels, Block inputs, Block results)
      : kernels_(std::move(kernels)), inputs_(inputs), results_(results) {}

  void* inputs() override { return inputs_.data; }
  void launch() override { kernels_(); }
  void wait() override {}
  const void* results() override { return results_.data; }

 private:
  std::function<void()> kernels_;
  Block inputs_, results_;
};

}  // namespace

std::unique_ptr<Run> Backend::record(std::function<void()> kernels, Block inputs, Block results) {
  return std::make_unique<HostRun>(std::move(kernels), inputs, results);
}

}  // namespace gannet::kernels
