// What the ranks of a job compute together: sums over all of them, beside the work of each.
#pragma once

#include <memory>
#include <string>

#include "engine/parallel/group.h"
#include "kernels/all_reduce.h"
#include "kernels/backend.h"

namespace gannet {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual std::string name() const = 0;  // "NCCL 2.28.3", "Gloo over TCP"
  // run() starts the reduction once what the backend was given before is done, and does not wait for it; Kernel::await() has
  // what the backend is given afterwards wait. Reductions are made one after the other in the order of run(), which is the same
  // on every rank. Deterministic: the same bits on every rank and in every run with as many ranks.
  virtual std::unique_ptr<kernels::Kernel> create(const kernels::AllReduce& spec) = 0;
};

// InputError where no communicator makes the kernel: tensors are f32 or bf16, and there is one.
void check_all_reduce(const kernels::AllReduce& spec);

// Between processes on CPUs, by Gloo over TCP; the kernels' memory is the host's. RuntimeError in a build without Gloo.
std::unique_ptr<Communicator> make_gloo_communicator(Group& group);
// Between GPUs, by NCCL, loaded when this is called; RuntimeError says what is missing. `backend` is the CUDA backend that the
// kernels work with: reductions run on a stream of their own, also within a captured graph.
std::unique_ptr<Communicator> make_nccl_communicator(Group& group, kernels::Backend& backend);

}  // namespace gannet
