// What stands for Gloo in a build without it.
#include "engine/parallel/communicator.h"
#include "kernels/check.h"

namespace gannet {

std::unique_ptr<Communicator> make_gloo_communicator(Group&) {
  throw RuntimeError("this build has no Gloo (install libgloo-dev and build again)");
}

}  // namespace gannet
