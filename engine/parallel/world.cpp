#include "engine/parallel/world.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "kernels/check.h"

namespace gannet {
namespace {

constexpr int highest_port = 65535;

// An empty variable is none: scripts set those to take something back.
std::optional<std::string> variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::optional<int> number(const char* name, int least, int most) {
  const std::optional<std::string> text = variable(name);
  if (!text) return std::nullopt;
  int value = 0;
  const char* const last = text->data() + text->size();
  const auto [end, failure] = std::from_chars(text->data(), last, value);
  GANNET_CHECK(failure == std::errc() && end == last && value >= least && value <= most,
               "the environment's {} must be a whole number from {} to {}, not '{}'", name, least, most, *text);
  return value;
}

int needed(const char* name, const char* because, int least, int most) {
  const std::optional<int> value = number(name, least, most);
  GANNET_CHECK(value, "the environment has {} but no {}: a launcher sets both", because, name);
  return *value;
}

std::optional<int> port_of(const char* name) { return number(name, 1, highest_port); }

constexpr int most_ranks = 1 << 20;

// torchrun; Kubernetes' training operator; by hand; the ranks that `gannet` itself starts.
World from_torch() {
  World world;
  world.size = needed("WORLD_SIZE", "RANK", 1, most_ranks);
  world.rank = needed("RANK", "WORLD_SIZE", 0, world.size - 1);
  world.address = variable("MASTER_ADDR").value_or("");
  GANNET_CHECK(world.size == 1 || !world.address.empty(),
               "the environment has RANK and WORLD_SIZE but no MASTER_ADDR: set it to the host of rank 0");
  const std::optional<int> local_size = number("LOCAL_WORLD_SIZE", 1, world.size);
  const std::optional<int> local_rank = number("LOCAL_RANK", 0, local_size.value_or(world.size) - 1);
  const bool one_host = world.address == "localhost" || world.address == "::1" || world.address.starts_with("127.");
  GANNET_CHECK(local_rank || one_host || local_size.value_or(1) == 1,
               "the environment has LOCAL_WORLD_SIZE but no LOCAL_RANK: a launcher sets both");
  // Ranks that reach the first one at this host's own address are all here; else, unless told, each has a host of its own.
  world.local_size = local_size.value_or(one_host ? world.size : local_rank.value_or(0) + 1);
  world.local_rank = local_rank.value_or(one_host ? world.rank : 0);
  GANNET_CHECK(world.local_rank < world.local_size,
               "the environment's LOCAL_WORLD_SIZE is {}, and there is no LOCAL_RANK for rank {}", world.local_size,
               world.rank);
  const std::optional<int> port = port_of("MASTER_PORT");
  world.port = port.value_or(default_port);
  if (const auto job = variable("GANNET_JOB"); job && job->starts_with("gannet ")) {
    world.launcher = "gannet";
  } else if (const auto run = variable("TORCHELASTIC_RUN_ID")) {
    world.launcher = "torchrun";
    // Its agent keeps a store of its own on MASTER_PORT. A run without a name is called "none": the port tells such apart.
    world.job =
        fmt::format("torchrun {} port {} restart {}", *run, world.port, variable("TORCHELASTIC_RESTART_COUNT").value_or("0"));
    if (variable("TORCHELASTIC_USE_AGENT_STORE") == "True" && world.port < highest_port) ++world.port;
  } else {
    world.launcher = "environment";
    world.job = fmt::format("environment port {}", world.port);
  }
  return world;
}

World from_open_mpi() {
  const char* const size = "OMPI_COMM_WORLD_SIZE";
  const char* const rank = "OMPI_COMM_WORLD_RANK";
  World world;
  world.launcher = "mpirun";
  world.size = needed(size, rank, 1, most_ranks);
  world.rank = needed(rank, size, 0, world.size - 1);
  world.local_size = needed("OMPI_COMM_WORLD_LOCAL_SIZE", size, 1, world.size);
  world.local_rank = needed("OMPI_COMM_WORLD_LOCAL_RANK", rank, 0, world.local_size - 1);
  if (const auto address = variable("MASTER_ADDR"))
    world.address = *address;
  else if (world.local_size == world.size)
    world.address = "127.0.0.1";
  GANNET_CHECK(!world.address.empty(),
               "mpirun does not say where rank 0 is: pass on the name or address of its host, mpirun -x MASTER_ADDR=HOST …");
  const auto name = variable("PMIX_NAMESPACE"), number = variable("OMPI_MCA_ess_base_jobid");
  world.job = "mpirun " + name.value_or(number.value_or("without a name"));
  world.port = port_of("MASTER_PORT").value_or(default_port);
  return world;
}

// How many tasks the given node of a step has: "2(x3),1" is 2, 2, 2, 1. 0 when the list does not say.
int tasks_of_node(std::string_view list, int node) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(item.size() == list.size() ? item.size() : item.size() + 1);
    int tasks = 0, nodes = 1;
    const char* const last = item.data() + item.size();
    const char* next = std::from_chars(item.data(), last, tasks).ptr;
    if (last - next > 2 && next[0] == '(' && next[1] == 'x') std::from_chars(next + 2, last, nodes);
    if (node < nodes) return tasks;
    node -= nodes;
  }
  return 0;
}

World from_slurm() {
  World world;
  world.launcher = "srun";
  world.size = needed("SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID", 1, most_ranks);
  world.rank = needed("SLURM_PROCID", "SLURM_STEP_ID", 0, world.size - 1);
  world.local_rank = needed("SLURM_LOCALID", "SLURM_PROCID", 0, world.size - 1);
  const int node = number("SLURM_NODEID", 0, most_ranks).value_or(0);
  world.local_size = tasks_of_node(variable("SLURM_STEP_TASKS_PER_NODE").value_or(""), node);
  GANNET_CHECK(world.local_size > world.local_rank,
               "the environment's SLURM_STEP_TASKS_PER_NODE is '{}', which is not how many tasks node {} has",
               variable("SLURM_STEP_TASKS_PER_NODE").value_or(""), node);
  if (const auto address = variable("MASTER_ADDR"))
    world.address = *address;
  else if (world.local_size == world.size)
    world.address = "127.0.0.1";
  else
    world.address = first_host(variable("SLURM_STEP_NODELIST").value_or(variable("SLURM_NODELIST").value_or("")));
  world.job = fmt::format("srun {} {}.{} restart {}", variable("SLURM_CLUSTER_NAME").value_or(""),
                          variable("SLURM_JOB_ID").value_or(""), variable("SLURM_STEP_ID").value_or(""),
                          variable("SLURM_RESTART_COUNT").value_or("0"));
  world.port = port_of("MASTER_PORT").value_or(default_port);
  return world;
}

bool is_torch() { return variable("RANK") || variable("WORLD_SIZE"); }
bool is_open_mpi() { return variable("OMPI_COMM_WORLD_RANK") || variable("OMPI_COMM_WORLD_SIZE"); }
bool is_slurm() { return variable("SLURM_STEP_ID") && variable("SLURM_PROCID"); }

}  // namespace

World world_from_environment() {
  World world;
  if (is_torch())
    world = from_torch();
  else if (is_open_mpi())
    world = from_open_mpi();
  else if (is_slurm())
    world = from_slurm();
  else
    return world;
  if (const auto job = variable("GANNET_JOB")) world.job = *job;
  world.port = port_of("GANNET_PORT").value_or(world.port);
  if (world.size == 1) world.address.clear();
  return world;
}

std::string rank_prefix() {
  for (const char* const name : {"RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"})
    if (const auto rank = variable(name)) return *rank == "0" ? "" : "rank " + *rank + ": ";
  return "";
}

std::string rank_prefix(const World& world) { return world.rank == 0 ? "" : fmt::format("rank {}: ", world.rank); }

std::string first_host(const std::string& list) {
  std::string host;
  std::size_t at = 0;
  while (at < list.size() && list[at] != ',') {
    if (list[at] != '[') {
      host += list[at++];
      continue;
    }
    const std::size_t end = list.find_first_of(",-]", at + 1);  // "[01-04,07]" begins with 01
    const std::size_t close = list.find(']', at);
    GANNET_CHECK(close != std::string::npos && end > at + 1, "'{}' is no list of hosts", list);
    host += list.substr(at + 1, end - at - 1);
    at = close + 1;
  }
  GANNET_CHECK(!host.empty(), "'{}' names no host: set MASTER_ADDR to that of rank 0", list);
  return host;
}

}  // namespace gannet
