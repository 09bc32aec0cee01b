// Ranks are processes: processes --ranks N [--rank R [--id ID | --share FILE]]
// Without --rank it starts N copies of itself and collects their exit codes. The id travels on the command line, or is agreed
// upon by NCCL_COMM_ID. Each checks all collectives, a graph, and a large message, against what it can compute alone.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "ranks.h"

namespace {

__global__ void square(float* data, std::size_t count) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) data[i] *= data[i];
}

std::string text_of(const ncclUniqueId& id) {
  std::string text;
  for (const char c : id.internal) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", static_cast<unsigned char>(c));
    text += pair;
  }
  return text;
}

// Rank 0 makes the id and leaves it in a file for the others.
std::string shared_id(int rank, const std::string& file) {
  std::string text;
  if (rank == 0) {
    ncclUniqueId id;
    NCCL(ncclGetUniqueId(&id));
    text = text_of(id);
    std::ofstream(file + ".new") << text;
    std::rename((file + ".new").c_str(), file.c_str());
    return text;
  }
  while (!(std::ifstream(file) >> text)) usleep(10'000);
  return text;
}

ncclUniqueId id_of(const std::string& text) {
  ncclUniqueId id;
  for (std::size_t i = 0; i < sizeof id.internal; ++i)
    id.internal[i] = static_cast<char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return id;
}

float element(int rank, std::size_t i) { return static_cast<float>((static_cast<std::size_t>(rank) * 31 + i) % 101) - 50; }

// Values whose sum depends on the order of its terms; all ranks must get the same bits.
float rough(int rank, std::size_t i) {
  return (1.f + static_cast<float>(i % 97)) * (rank % 2 == 0 ? 1e7f : -1e7f) + 0.37f * static_cast<float>(rank + 1);
}

void run_rank(int rank, int ranks, const ncclUniqueId& id) {
  int devices = 0;
  OK(cudaGetDeviceCount(&devices));
  OK(cudaSetDevice(rank % devices));
  ncclComm_t comm = nullptr;
  NCCL(ncclCommInitRank(&comm, ranks, id, rank));
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const auto n = static_cast<std::size_t>(ranks);
  for (const std::size_t count : {std::size_t{1}, std::size_t{1009}, std::size_t{300'000}}) {
    std::vector<float> mine;
    for (std::size_t i = 0; i < count * n; ++i) mine.push_back(element(rank, i));
    float* a = upload(mine);
    float* b = upload(std::vector<float>(count * n, -1));
    const auto sum = [&](std::size_t i) {
      float result = 0;
      for (int r = 0; r < ranks; ++r) result += element(r, i);
      return result;
    };
    const auto check = [&](const char* what, std::size_t length, const auto& expected) {
      OK(cudaStreamSynchronize(stream));
      const std::vector<float> got = download(b, length);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < length; ++i) wrong += got[i] != expected(i);
      if (wrong == 0) return;
      ++failures;
      std::printf("rank %d: %s of %zu: %zu of %zu wrong\n", rank, what, count, wrong, length);
    };
    NCCL(ncclAllReduce(a, b, count, ncclFloat32, ncclSum, comm, stream));
    check("all-reduce", count, sum);
    square<<<static_cast<unsigned>((count + 127) / 128), 128, 0, stream>>>(b, count);
    NCCL(ncclAllReduce(b, b, count, ncclFloat32, ncclMax, comm, stream));
    check("all-reduce in place after a kernel", count, [&](std::size_t i) { return sum(i) * sum(i); });
    NCCL(ncclBroadcast(a, b, count, ncclFloat32, ranks - 1, comm, stream));
    check("broadcast", count, [&](std::size_t i) { return element(ranks - 1, i); });
    NCCL(ncclAllGather(a, b, count, ncclFloat32, comm, stream));
    check("all-gather", count * n, [&](std::size_t i) { return element(static_cast<int>(i / count), i % count); });
    NCCL(ncclReduceScatter(a, b, count, ncclFloat32, ncclSum, comm, stream));
    check("reduce-scatter", count, [&](std::size_t i) { return sum(static_cast<std::size_t>(rank) * count + i); });
    NCCL(ncclAlltoAll(a, b, count, ncclFloat32, comm, stream));
    check("all-to-all", count * n, [&](std::size_t i) {
      return element(static_cast<int>(i / count), static_cast<std::size_t>(rank) * count + i % count);
    });
    NCCL(ncclReduce(a, b, count, ncclFloat32, ncclSum, 0, comm, stream));
    if (rank == 0) check("reduce", count, sum);
    NCCL(ncclGroupStart());
    NCCL(ncclSend(a, count, ncclFloat32, (rank + 1) % ranks, comm, stream));
    NCCL(ncclRecv(b, count, ncclFloat32, (rank + ranks - 1) % ranks, comm, stream));
    NCCL(ncclGroupEnd());
    check("ring", count, [&](std::size_t i) { return element((rank + ranks - 1) % ranks, i); });

    std::vector<float> rough_values;
    for (std::size_t i = 0; i < count; ++i) rough_values.push_back(rough(rank, i));
    OK(cudaMemcpy(b, rough_values.data(), count * sizeof(float), cudaMemcpyHostToDevice));
    NCCL(ncclAllReduce(b, b, count, ncclFloat32, ncclSum, comm, stream));
    check("sum in the order of the ranks", count, [&](std::size_t i) {
      float result = rough(0, i);
      for (int r = 1; r < ranks; ++r) result += rough(r, i);
      return result;
    });
    OK(cudaFree(a));
    OK(cudaFree(b));
  }

  float* value = upload(std::vector<float>{1});
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  NCCL(ncclAllReduce(value, value, 1, ncclFloat32, ncclSum, comm, stream));
  OK(cudaStreamEndCapture(stream, &graph));
  OK(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 5; ++i) OK(cudaGraphLaunch(executable, stream));
  OK(cudaStreamSynchronize(stream));
  float expected = 1;
  for (int i = 0; i < 5; ++i) expected *= static_cast<float>(ranks);
  EXPECT_EQ(download(value, 1)[0], expected);
  OK(cudaGraphExecDestroy(executable));
  OK(cudaGraphDestroy(graph));
  OK(cudaFree(value));

  if (const char* megabytes = std::getenv("LARGE_MEGABYTES"); megabytes != nullptr) {
    const std::size_t count = std::strtoull(megabytes, nullptr, 10) << 18;
    float* large = upload(std::vector<float>(count, static_cast<float>(rank + 1)));
    NCCL(ncclAllReduce(large, large, count, ncclFloat32, ncclSum, comm, stream));
    OK(cudaStreamSynchronize(stream));
    std::size_t wrong = 0;
    for (const float x : download(large, count)) wrong += x != static_cast<float>(ranks * (ranks + 1) / 2);
    EXPECT_EQ(wrong, 0u);
    OK(cudaFree(large));
  }
  // A communicator of the even and one of the odd ranks.
  ncclComm_t half = nullptr;
  NCCL(ncclCommSplit(comm, rank % 2, rank, &half, nullptr));
  int* one = upload(std::vector<int>{1});
  NCCL(ncclAllReduce(one, one, 1, ncclInt32, ncclSum, half, stream));
  OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(download(one, 1)[0], (ranks + 1 - rank % 2) / 2);
  OK(cudaFree(one));
  NCCL(ncclCommDestroy(half));
  NCCL(ncclCommDestroy(comm));
  OK(cudaStreamDestroy(stream));
}

}  // namespace

int main(int argc, char** argv) {
  int ranks = 2, rank = -1;
  std::string id_text;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--ranks") ranks = std::atoi(argv[i + 1]);
    if (name == "--rank") rank = std::atoi(argv[i + 1]);
    if (name == "--id") id_text = argv[i + 1];
    if (name == "--share") id_text = shared_id(rank, argv[i + 1]);
  }
  ncclUniqueId id;
  if (id_text.empty()) {
    NCCL(ncclGetUniqueId(&id));
  } else {
    id = id_of(id_text);
  }
  if (rank >= 0) {
    run_rank(rank, ranks, id);
    return verdict();
  }
  std::vector<pid_t> children;
  for (int r = 0; r < ranks; ++r) {
    const std::string own = std::to_string(r), all = std::to_string(ranks), text = text_of(id);
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", argv[0], "--rank", own.c_str(), "--ranks", all.c_str(), "--id", text.c_str(), nullptr);
      _exit(127);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  return verdict();
}
