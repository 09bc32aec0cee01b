// Which processors a rank computes on where several ranks of a job share a host.
#pragma once

#include <string>
#include <vector>

#include "engine/parallel/group.h"

namespace gannet {

// This rank's share of the processors that the ranks of its host may use, whole cores as far as there are enough, and those of
// one package together. From here on, the calling thread and those that it starts run there alone. Ranks to which their
// launcher has given processors of their own keep them. Returns how many threads the rank should compute with: its share, or
// OMP_NUM_THREADS where that is less (torchrun sets it to 1 unasked: there it is ignored). All ranks call it, before any
// thread that computes is started.
int take_share_of_processors(Group& group);

struct Processor {
  int number = 0, package = 0, core = 0;
};
// Share `place` of `places`: at least one processor, the same one for several where there are fewer than places.
std::vector<int> share_of(std::vector<Processor> processors, int place, int places);

}  // namespace gannet
