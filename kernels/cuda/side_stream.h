// A stream beside that of the kernels.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace gannet::kernels::cuda {

std::unique_ptr<SideStream> make_side_stream(const Device& device);

}  // namespace gannet::kernels::cuda
