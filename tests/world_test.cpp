// What launchers say by the environment.
#include "engine/parallel/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/parallel/cores.h"
#include "kernels/check.h"
#include "tests/message.h"
#include "tests/processes.h"

namespace gannet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The environment with nothing of launchers but these variables.
class WorldTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const std::string& name : variables_of_launchers()) ::unsetenv(name.c_str());
  }
  void set(const Variables& variables) {
    for (const auto& [name, value] : set_) ::unsetenv(name.c_str());
    set_ = variables;
    for (const auto& [name, value] : set_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  World world(const Variables& variables) {
    set(variables);
    return world_from_environment();
  }
  std::string refusal(const Variables& variables) {
    set(variables);
    return message_of<InputError>([] { world_from_environment(); });
  }
  void TearDown() override { set({}); }

 private:
  Variables set_;
};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

const Variables torchrun = {{"RANK", "5"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "node01"},
                            {"MASTER_PORT", "29500"},
                            {"TORCHELASTIC_RUN_ID", "7f"},
                            {"TORCHELASTIC_RESTART_COUNT", "2"},
                            {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables mpirun = {{"OMPI_COMM_WORLD_RANK", "1"},
                          {"OMPI_COMM_WORLD_SIZE", "4"},
                          {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                          {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                          {"PMIX_NAMESPACE", "1090715649"}};
const Variables srun = {{"SLURM_STEP_ID", "0"},
                        {"SLURM_PROCID", "4"},
                        {"SLURM_STEP_NUM_TASKS", "7"},
                        {"SLURM_NTASKS", "7"},
                        {"SLURM_LOCALID", "0"},
                        {"SLURM_NODEID", "2"},
                        {"SLURM_JOB_ID", "1234"},
                        {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
                        {"SLURM_STEP_NODELIST", "node[01-04]"},
                        {"SLURM_CLUSTER_NAME", "c"}};

TEST_F(WorldTest, IsOneWithoutALauncher) {
  const World one = world({});
  EXPECT_EQ(one.size, 1);
  EXPECT_EQ(one.rank, 0);
  EXPECT_EQ(one.launcher, "");
  EXPECT_EQ(rank_prefix(), "");
}

TEST_F(WorldTest, OfTorchrun) {
  const World it = world(torchrun);
  EXPECT_EQ(it.rank, 5);
  EXPECT_EQ(it.size, 8);
  EXPECT_EQ(it.local_rank, 1);
  EXPECT_EQ(it.local_size, 4);
  EXPECT_EQ(it.address, "node01");
  EXPECT_EQ(it.port, 29501);  // its own store has the first
  EXPECT_EQ(it.launcher, "torchrun");
  EXPECT_EQ(it.job, "torchrun 7f port 29500 restart 2");
  EXPECT_EQ(rank_prefix(), "rank 5: ");
  EXPECT_EQ(world(with(torchrun, "TORCHELASTIC_USE_AGENT_STORE", "False")).port, 29500);
  EXPECT_NE(world(with(torchrun, "TORCHELASTIC_RESTART_COUNT", "3")).job, it.job);
  EXPECT_NE(world(with(torchrun, "MASTER_PORT", "29501")).job, it.job);
  EXPECT_EQ(world(with(torchrun, "GANNET_PORT", "4000")).port, 4000);
  EXPECT_EQ(world(with(torchrun, "GANNET_JOB", "mine")).job, "mine");
}

TEST_F(WorldTest, ByHand) {
  const Variables least = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "10.0.0.1"}};
  const World it = world(least);
  EXPECT_EQ(it.port, default_port);
  EXPECT_EQ(it.local_rank, 0);  // one rank a host, as in Kubernetes' jobs
  EXPECT_EQ(it.local_size, 1);
  EXPECT_EQ(it.launcher, "environment");
  const World here = world(with(least, "MASTER_ADDR", "localhost"));
  EXPECT_EQ(here.local_rank, 1);
  EXPECT_EQ(here.local_size, 2);
  EXPECT_EQ(world({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).size, 1);
  EXPECT_EQ(world({{"RANK", ""}, {"WORLD_SIZE", ""}}).size, 1);
}

TEST_F(WorldTest, OfGannet) {
  const World it = world({{"RANK", "1"},
                          {"WORLD_SIZE", "2"},
                          {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "2"},
                          {"MASTER_ADDR", "127.0.0.1"},
                          {"MASTER_PORT", "40000"},
                          {"GANNET_JOB", "gannet 12"},
                          {"TORCHELASTIC_RUN_ID", "of the shell that it runs in"},
                          {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                          {"SLURM_STEP_ID", "1"},
                          {"SLURM_PROCID", "0"}});
  EXPECT_EQ(it.launcher, "gannet");
  EXPECT_EQ(it.port, 40000);
  EXPECT_EQ(it.job, "gannet 12");
}

TEST_F(WorldTest, OfOpenMpi) {
  const World it = world(mpirun);
  EXPECT_EQ(it.rank, 1);
  EXPECT_EQ(it.size, 4);
  EXPECT_EQ(it.local_size, 4);
  EXPECT_EQ(it.address, "127.0.0.1");
  EXPECT_EQ(it.port, default_port);
  EXPECT_EQ(it.launcher, "mpirun");
  EXPECT_EQ(it.job, "mpirun 1090715649");
  EXPECT_EQ(rank_prefix(), "rank 1: ");
  const Variables several = with(mpirun, "OMPI_COMM_WORLD_LOCAL_SIZE", "2");
  EXPECT_THAT(refusal(several), HasSubstr("mpirun -x MASTER_ADDR=HOST"));
  EXPECT_EQ(world(with(several, "MASTER_ADDR", "node7")).address, "node7");
  EXPECT_EQ(world(with(mpirun, "MASTER_PORT", "5000")).port, 5000);
  // Started within a step of Slurm, where mpirun's own processes are the tasks.
  Variables both = srun;
  both.insert(mpirun.begin(), mpirun.end());
  EXPECT_EQ(world(both).launcher, "mpirun");
}

TEST_F(WorldTest, OfSlurm) {
  const World it = world(srun);
  EXPECT_EQ(it.rank, 4);
  EXPECT_EQ(it.size, 7);
  EXPECT_EQ(it.local_rank, 0);
  EXPECT_EQ(it.local_size, 2);
  EXPECT_EQ(it.address, "node01");
  EXPECT_EQ(it.launcher, "srun");
  EXPECT_EQ(it.job, "srun c 1234.0 restart 0");
  EXPECT_NE(world(with(srun, "SLURM_RESTART_COUNT", "1")).job, it.job);
  EXPECT_EQ(world(with(with(srun, "SLURM_NODEID", "3"), "SLURM_PROCID", "6")).local_size, 1);
  EXPECT_EQ(world(with(srun, "MASTER_ADDR", "10.1.1.1")).address, "10.1.1.1");
  EXPECT_EQ(world(with(with(srun, "SLURM_STEP_TASKS_PER_NODE", "7"), "SLURM_NODEID", "0")).address, "127.0.0.1");
  EXPECT_EQ(world(without(srun, "SLURM_STEP_ID")).size, 1);  // the batch script itself
}

TEST_F(WorldTest, NamesWhatIsMissingOrMakesNoSense) {
  EXPECT_THAT(refusal(without(torchrun, "WORLD_SIZE")), HasSubstr("RANK but no WORLD_SIZE"));
  EXPECT_THAT(refusal(without(torchrun, "RANK")), HasSubstr("WORLD_SIZE but no RANK"));
  EXPECT_THAT(refusal(without(torchrun, "MASTER_ADDR")), HasSubstr("no MASTER_ADDR"));
  EXPECT_THAT(refusal(without(torchrun, "LOCAL_RANK")), HasSubstr("LOCAL_WORLD_SIZE but no LOCAL_RANK"));
  EXPECT_THAT(refusal(with(torchrun, "RANK", "8")), HasSubstr("RANK must be a whole number from 0 to 7, not '8'"));
  EXPECT_THAT(refusal(with(torchrun, "RANK", "-1")), HasSubstr("not '-1'"));
  EXPECT_THAT(refusal(with(torchrun, "RANK", "1x")), HasSubstr("not '1x'"));
  EXPECT_THAT(refusal(with(torchrun, "WORLD_SIZE", "0")), HasSubstr("WORLD_SIZE must be"));
  EXPECT_THAT(refusal(with(torchrun, "WORLD_SIZE", "99999999999999999999")), HasSubstr("WORLD_SIZE must be"));
  EXPECT_THAT(refusal(with(torchrun, "LOCAL_RANK", "4")), HasSubstr("LOCAL_RANK must be a whole number from 0 to 3"));
  EXPECT_THAT(refusal(with(torchrun, "LOCAL_WORLD_SIZE", "9")), HasSubstr("LOCAL_WORLD_SIZE must be"));
  EXPECT_THAT(refusal(with(torchrun, "MASTER_PORT", "65536")), HasSubstr("MASTER_PORT must be"));
  EXPECT_THAT(refusal(with(torchrun, "GANNET_PORT", "http")), HasSubstr("GANNET_PORT must be"));
  EXPECT_THAT(refusal(without(mpirun, "OMPI_COMM_WORLD_SIZE")), HasSubstr("no OMPI_COMM_WORLD_SIZE"));
  EXPECT_THAT(refusal(without(mpirun, "OMPI_COMM_WORLD_LOCAL_SIZE")), HasSubstr("no OMPI_COMM_WORLD_LOCAL_SIZE"));
  EXPECT_THAT(refusal(without(srun, "SLURM_STEP_NUM_TASKS")), HasSubstr("no SLURM_STEP_NUM_TASKS"));
  EXPECT_THAT(refusal(with(srun, "SLURM_STEP_TASKS_PER_NODE", "(x")), HasSubstr("SLURM_STEP_TASKS_PER_NODE is '(x'"));
  EXPECT_THAT(refusal(with(srun, "SLURM_STEP_NODELIST", "node[1-")), HasSubstr("'node[1-' is no list of hosts"));
}

TEST(Hosts, TheFirstOfAList) {
  for (const auto& [list, first] : Variables{{"node[01-04,07]", "node01"},
                                             {"a,b", "a"},
                                             {"vm", "vm"},
                                             {"n[3]", "n3"},
                                             {"rack[1-2]node[05-06].site", "rack1node05.site"},
                                             {"gpu-[9,11-12],cpu1", "gpu-9"}})
    EXPECT_EQ(first_host(list), first);
  for (const char* const broken : {"", ",a", "n[", "n[]", "n[-1]", "n[,2]"})
    EXPECT_NE(message_of<InputError>([&] { first_host(broken); }), "no error") << broken;
}

TEST(Processors, AreSharedByWholeCores) {
  // Two packages of two cores of two threads, numbered as machines do: first one thread of each core, then the others.
  std::vector<Processor> eight;
  for (int number = 0; number < 8; ++number) eight.push_back({number, number % 4 / 2, number % 2});
  EXPECT_THAT(share_of(eight, 0, 2), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(share_of(eight, 1, 2), ElementsAre(2, 3, 6, 7));
  EXPECT_THAT(share_of(eight, 3, 4), ElementsAre(3, 7));
  EXPECT_THAT(share_of(eight, 0, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  for (const int places : {1, 2, 3, 4, 5, 7, 8}) {  // each belongs to one
    std::vector<int> all;
    for (int place = 0; place < places; ++place) {
      const std::vector<int> share = share_of(eight, place, places);
      EXPECT_FALSE(share.empty());
      all.insert(all.end(), share.begin(), share.end());
    }
    EXPECT_THAT(all, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7)) << places;
  }
  EXPECT_THAT(share_of(eight, 9, 10), ElementsAre(4));  // more ranks than processors: somebody is not alone
  EXPECT_THAT(share_of({}, 0, 2), ElementsAre());
}

}  // namespace
}  // namespace gannet
