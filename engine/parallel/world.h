// Which part of a job this process is: what `gannet train --gpus N`, torchrun, mpirun and srun tell it by its environment.
#pragma once

#include <string>

namespace gannet {

struct World {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this host
  std::string address;                 // of rank 0, a name or a number; empty in a world of one
  int port = 0;                        // the first that rank 0 tries to listen on (see Group)
  std::string job;                     // the same in all ranks of a job and in no other job at the same time
  std::string launcher;                // "gannet", "torchrun", "mpirun", "srun"; empty for none
};

// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun, and whoever sets them by hand), else
// OMPI_COMM_WORLD_..., else SLURM_...; GANNET_PORT overrides the port of each. A world of one when there is nothing of that.
// InputError names the variable that is missing or makes no sense.
World world_from_environment();

}  // namespace gannet
