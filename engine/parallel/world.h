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
  std::string launcher;                // "gannet", "torchrun", "mpirun", "srun", "environment" (by hand); empty for none
};

// Where no launcher and nobody names a port.
constexpr int default_port = 29600;

// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun, and whoever sets them by hand), else
// OMPI_COMM_WORLD_..., else the SLURM_... of a step (within a batch script, but not under srun, there is no rank yet).
// MASTER_ADDR, MASTER_PORT, GANNET_JOB and above all GANNET_PORT override what the launcher would say. A world of one when
// there is nothing of that. InputError names the variable that is missing or makes no sense.
World world_from_environment();

// "rank 2: " before the lines that this process says to a terminal that all ranks share; nothing in rank 0, or where the
// environment tells of no ranks. Throws nothing.
std::string rank_prefix();
std::string rank_prefix(const World& world);

// The first host that a list of Slurm's names: "node02" of "node[02-04,07],other". InputError for what is no list.
std::string first_host(const std::string& list);

}  // namespace gannet
