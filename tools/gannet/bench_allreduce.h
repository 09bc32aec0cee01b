// gannet bench allreduce
#pragma once

#include "tools/gannet/command.h"

namespace gannet::tool {

void add_bench_allreduce(CLI::App& bench, Chosen& chosen);

}  // namespace gannet::tool
