#include "kernels/optimizer.h"

namespace gannet::kernels {

int OptimizerUpdate::moments() const {
  switch (kind) {
    case Kind::adam:
      return 2;
    case Kind::rmsprop:
      return momentum > 0 ? 2 : 1;
    case Kind::sgd:
      return momentum > 0 ? 1 : 0;
  }
  return 0;
}

}  // namespace gannet::kernels
