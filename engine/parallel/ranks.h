// The processes that train one model together, as a training sees them.
#pragma once

#include "engine/parallel/communicator.h"
#include "engine/parallel/group.h"

namespace gannet {

struct Ranks {
  Group& group;
  Communicator& communicator;

  int rank() const { return group.rank(); }
  int size() const { return group.size(); }
};

}  // namespace gannet
