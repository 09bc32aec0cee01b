// What the programs of a configuration ask of a backend that keeps everything plain, as the CUDA backend does; nothing is run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/train/config.h"
#include "kernels/backend.h"

namespace gannet::bench {

// A ready configuration, or a file, with `--set` assignments.
Config resolved_configuration(const std::string& name_or_file, const std::vector<std::string>& settings);

// Does the backend that is asked compute both gradients together?
using Together = std::function<bool(const kernels::ConvolutionBackward&)>;

// The specs of all kernels of a training step, in their order, each phase once; then those that draw `samples` samples.
std::vector<kernels::KernelSpec> planned_specs(const Config& config, std::int64_t samples = 0, const Together& together = {});

}  // namespace gannet::bench
