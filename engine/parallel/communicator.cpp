#include "engine/parallel/communicator.h"

#include "kernels/check.h"

namespace gannet {

void check_all_reduce(const kernels::AllReduce& spec) {
  GANNET_CHECK(!spec.tensors.empty(), "[all reduce] no tensors are given");
  for (const TensorDesc& desc : spec.tensors)
    GANNET_CHECK(desc.type == DType::f32 || desc.type == DType::bf16, "[all reduce] {} is neither f32 nor bf16",
                 to_string(desc));
}

}  // namespace gannet
