// One thread drives all devices: every type with every operator in every reduction, in groups, against a reference on the host;
// the other collectives; counts of 0 and 1; operators of the program.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <random>

#include "ranks.h"

namespace {

constexpr int kRanks = 4;
ncclComm_t comms[kRanks];

void on_each(const std::function<void(int)>& body) {
  NCCL(ncclGroupStart());
  for (int r = 0; r < kRanks; ++r) body(r);
  NCCL(ncclGroupEnd());
  for (int r = 0; r < kRanks; ++r) {
    OK(cudaSetDevice(r));
    OK(cudaDeviceSynchronize());
  }
}

template <class T>
float wide(T x) {
  return static_cast<float>(x);
}

// Small whole numbers: every order and precision of accumulation gives the same.
template <class T>
T element(int rank, std::size_t i) {
  return static_cast<T>(static_cast<float>(1 + (i * 7 + static_cast<std::size_t>(rank) * 3) % 3));
}

template <class T>
void check_reductions(ncclDataType_t type, const char* name) {
  constexpr std::size_t kCount = 37;
  // Each rank has room for the data of all, so that reduce-scatter finds what it needs.
  std::vector<std::vector<T>> data(kRanks);
  T *send[kRanks], *receive[kRanks];
  for (int r = 0; r < kRanks; ++r) {
    for (std::size_t i = 0; i < kCount * kRanks; ++i) data[r].push_back(element<T>(r, i));
    OK(cudaSetDevice(r));
    send[r] = upload(data[r]);
    receive[r] = upload(std::vector<T>(kCount, element<T>(0, 0)));
  }
  // Each rank multiplies with a number of its own; half of them read it when the collective runs.
  ncclRedOp_t scaled[kRanks];
  std::vector<T> scalars;
  T* scalar_memory[kRanks];
  for (int r = 0; r < kRanks; ++r) {
    scalars.push_back(static_cast<T>(static_cast<float>(r % 2 + 1)));
    OK(cudaSetDevice(r));
    scalar_memory[r] = upload(std::vector<T>{scalars.back()});
    if (r % 2 == 0) {
      NCCL(ncclRedOpCreatePreMulSum(&scaled[r], &scalars.back(), type, ncclScalarHostImmediate, comms[r]));
    } else {
      NCCL(ncclRedOpCreatePreMulSum(&scaled[r], scalar_memory[r], type, ncclScalarDevice, comms[r]));
    }
  }
  for (int op = 0; op <= ncclNumOps; ++op) {
    const auto expected = [&](std::size_t i) {
      float result = 0;
      for (int r = 0; r < kRanks; ++r) {
        const float x = wide(data[r][i]);
        if (r == 0) {
          result = op == ncclNumOps ? x * wide(scalars[0]) : x;
        } else if (op == ncclProd) {
          result *= x;
        } else if (op == ncclMax) {
          result = std::max(result, x);
        } else if (op == ncclMin) {
          result = std::min(result, x);
        } else {
          result += op == ncclNumOps ? x * wide(scalars[static_cast<std::size_t>(r)]) : x;
        }
      }
      if (op == ncclAvg) result /= kRanks;
      return static_cast<T>(result);
    };
    const auto op_of = [&](int r) { return op == ncclNumOps ? scaled[r] : static_cast<ncclRedOp_t>(op); };
    const auto check = [&](const char* what, int r, std::size_t offset) {
      OK(cudaSetDevice(r));
      std::vector<T> reference;
      for (std::size_t i = 0; i < kCount; ++i) reference.push_back(expected(offset + i));
      if (!same_bits(download(receive[r], kCount), reference)) {
        ++failures;
        std::printf("%s of %s with operator %d is wrong on rank %d\n", what, name, op, r);
      }
    };
    on_each([&](int r) { NCCL(ncclAllReduce(send[r], receive[r], kCount, type, op_of(r), comms[r], 0)); });
    for (int r = 0; r < kRanks; ++r) check("all-reduce", r, 0);
    on_each([&](int r) { NCCL(ncclReduce(send[r], r == 2 ? receive[r] : nullptr, kCount, type, op_of(r), 2, comms[r], 0)); });
    check("reduce", 2, 0);
    on_each([&](int r) { NCCL(ncclReduceScatter(send[r], receive[r], kCount, type, op_of(r), comms[r], 0)); });
    for (int r = 0; r < kRanks; ++r) check("reduce-scatter", r, kCount * static_cast<std::size_t>(r));
  }
  for (int r = 0; r < kRanks; ++r) {
    NCCL(ncclRedOpDestroy(scaled[r], comms[r]));
    EXPECT_NCCL(ncclInvalidArgument, ncclAllReduce(send[r], receive[r], kCount, type, scaled[r], comms[r], 0));
    for (T* memory : {send[r], receive[r], scalar_memory[r]}) OK(cudaFree(memory));
  }
}

// What a float16 accumulation would lose: 1 + 2048 times 2^-11 is 2 in float32 and 1 in float16. The order of the ranks: a
// large number first.
void check_accumulation() {
  std::vector<__half> first{__float2half(2048.f)}, other{__float2half(0.75f)};
  __half* memory[kRanks];
  float* precise[kRanks];
  for (int r = 0; r < kRanks; ++r) {
    OK(cudaSetDevice(r));
    memory[r] = upload(r == 0 ? first : other);
    precise[r] = upload(std::vector<float>{r == 0 ? 1e8f : r == 1 ? 1.f : r == 2 ? -1e8f : 3.f});
  }
  on_each([&](int r) {
    NCCL(ncclAllReduce(memory[r], memory[r], 1, ncclFloat16, ncclSum, comms[r], 0));
    NCCL(ncclAllReduce(precise[r], precise[r], 1, ncclFloat32, ncclSum, comms[r], 0));
  });
  for (int r = 0; r < kRanks; ++r) {
    OK(cudaSetDevice(r));
    EXPECT_EQ(__half2float(download(memory[r], 1)[0]), 2050.f);
    EXPECT_EQ(download(precise[r], 1)[0], ((1e8f + 1.f) + -1e8f) + 3.f);
    OK(cudaFree(memory[r]));
    OK(cudaFree(precise[r]));
  }
}

void check_moves() {
  constexpr std::size_t kCount = 1000;
  using T = std::int64_t;
  T *a[kRanks], *b[kRanks];
  std::vector<T> values[kRanks];
  for (int r = 0; r < kRanks; ++r) {
    for (std::size_t i = 0; i < kCount * kRanks; ++i) values[r].push_back(static_cast<T>(i) * 10 + r);
    OK(cudaSetDevice(r));
    a[r] = upload(values[r]);
    b[r] = upload(std::vector<T>(kCount * kRanks, -1));
  }
  const auto part = [&](int rank, std::size_t block) {
    return std::vector<T>(values[rank].begin() + block * kCount, values[rank].begin() + (block + 1) * kCount);
  };
  const auto received = [&](int r, std::size_t block) {
    OK(cudaSetDevice(r));
    return download(b[r] + block * kCount, kCount);
  };
  on_each([&](int r) { NCCL(ncclBroadcast(r == 1 ? a[r] : nullptr, b[r], kCount, ncclInt64, 1, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) EXPECT(same_bits(received(r, 0), part(1, 0)));
  on_each([&](int r) { NCCL(ncclBcast(b[r], kCount, ncclInt64, 3, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) EXPECT(same_bits(received(r, 0), part(1, 0)));
  on_each([&](int r) { NCCL(ncclAllGather(a[r], b[r], kCount, ncclInt64, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) {
    for (int p = 0; p < kRanks; ++p) EXPECT(same_bits(received(r, static_cast<std::size_t>(p)), part(p, 0)));
  }
  on_each([&](int r) { NCCL(ncclAlltoAll(a[r], b[r], kCount, ncclInt64, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) {
    for (int p = 0; p < kRanks; ++p)
      EXPECT(same_bits(received(r, static_cast<std::size_t>(p)), part(p, static_cast<std::size_t>(r))));
  }
  on_each([&](int r) { NCCL(ncclGather(a[r], r == 2 ? b[r] : nullptr, kCount, ncclInt64, 2, comms[r], 0)); });
  for (int p = 0; p < kRanks; ++p) EXPECT(same_bits(received(2, static_cast<std::size_t>(p)), part(p, 0)));
  on_each([&](int r) { NCCL(ncclScatter(r == 0 ? a[r] : nullptr, b[r], kCount, ncclInt64, 0, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) EXPECT(same_bits(received(r, 0), part(0, static_cast<std::size_t>(r))));
  // A ring in one group, with a transfer to the own rank.
  on_each([&](int r) {
    NCCL(ncclSend(a[r], kCount, ncclInt64, (r + 1) % kRanks, comms[r], 0));
    NCCL(ncclRecv(b[r], kCount, ncclInt64, (r + kRanks - 1) % kRanks, comms[r], 0));
    NCCL(ncclSend(a[r] + kCount, kCount, ncclInt64, r, comms[r], 0));
    NCCL(ncclRecv(b[r] + kCount, kCount, ncclInt64, r, comms[r], 0));
  });
  for (int r = 0; r < kRanks; ++r) {
    EXPECT(same_bits(received(r, 0), part((r + kRanks - 1) % kRanks, 0)));
    EXPECT(same_bits(received(r, 1), part(r, 1)));
  }
  // In place.
  on_each(
      [&](int r) { NCCL(ncclAllGather(a[r] + static_cast<std::size_t>(r) * kCount, a[r], kCount, ncclInt64, comms[r], 0)); });
  for (int r = 0; r < kRanks; ++r) {
    OK(cudaSetDevice(r));
    for (int p = 0; p < kRanks; ++p) {
      EXPECT(same_bits(download(a[r] + static_cast<std::size_t>(p) * kCount, kCount), part(p, static_cast<std::size_t>(p))));
    }
  }
  // Nothing is sent, received or waited for.
  NCCL(ncclAllReduce(a[0], b[0], 0, ncclInt64, ncclSum, comms[0], 0));
  OK(cudaSetDevice(0));
  OK(cudaDeviceSynchronize());
  on_each([&](int r) {
    if (r == 0) NCCL(ncclSend(nullptr, 0, ncclInt64, 1, comms[r], 0));
    if (r == 1) NCCL(ncclRecv(nullptr, 0, ncclInt64, 0, comms[r], 0));
  });
  for (int r = 0; r < kRanks; ++r) {
    OK(cudaFree(a[r]));
    OK(cudaFree(b[r]));
  }
}

void check_one_rank() {
  OK(cudaSetDevice(1));
  ncclUniqueId id;
  NCCL(ncclGetUniqueId(&id));
  ncclComm_t comm;
  NCCL(ncclCommInitRank(&comm, 1, id, 0));
  int number = -1;
  NCCL(ncclCommCuDevice(comm, &number));
  EXPECT_EQ(number, 1);
  float* memory = upload(std::vector<float>{3, 4});
  float* other = upload(std::vector<float>{0, 0});
  const float two = 2;
  ncclRedOp_t twice;
  NCCL(ncclRedOpCreatePreMulSum(&twice, const_cast<float*>(&two), ncclFloat32, ncclScalarHostImmediate, comm));
  NCCL(ncclAllReduce(memory, other, 2, ncclFloat32, twice, comm, cudaStreamPerThread));
  OK(cudaStreamSynchronize(cudaStreamPerThread));
  EXPECT_EQ(download(other, 2)[1], 8.f);
  NCCL(ncclAllGather(memory, other, 2, ncclFloat32, comm, 0));
  EXPECT_EQ(download(other, 2)[0], 3.f);
  NCCL(ncclCommFinalize(comm));
  EXPECT_NCCL(ncclInvalidUsage, ncclAllGather(memory, other, 2, ncclFloat32, comm, 0));
  NCCL(ncclCommDestroy(comm));
  EXPECT_NCCL(ncclInvalidArgument, ncclCommCount(comm, &number));
  OK(cudaFree(memory));
  OK(cudaFree(other));
}

}  // namespace

int main() {
  int version = 0;
  NCCL(ncclGetVersion(&version));
  EXPECT_EQ(version, NCCL_VERSION_CODE);
  NCCL(ncclCommInitAll(comms, kRanks, nullptr));
  for (int r = 0; r < kRanks; ++r) {
    int count = 0, rank = 0, device = 0;
    NCCL(ncclCommCount(comms[r], &count));
    NCCL(ncclCommUserRank(comms[r], &rank));
    NCCL(ncclCommCuDevice(comms[r], &device));
    EXPECT_EQ(count, kRanks);
    EXPECT_EQ(rank, r);
    EXPECT_EQ(device, r);
  }
  check_reductions<std::int8_t>(ncclInt8, "int8");
  check_reductions<std::uint8_t>(ncclUint8, "uint8");
  check_reductions<std::int32_t>(ncclInt32, "int32");
  check_reductions<std::uint32_t>(ncclUint32, "uint32");
  check_reductions<std::int64_t>(ncclInt64, "int64");
  check_reductions<std::uint64_t>(ncclUint64, "uint64");
  check_reductions<__half>(ncclFloat16, "float16");
  check_reductions<float>(ncclFloat32, "float32");
  check_reductions<double>(ncclFloat64, "float64");
  check_reductions<__nv_bfloat16>(ncclBfloat16, "bfloat16");
  cudaDeviceProp properties;
  OK(cudaGetDeviceProperties(&properties, 0));
  if (properties.major >= 9) {
    check_reductions<__nv_fp8_e4m3>(ncclFloat8e4m3, "float8e4m3");
    check_reductions<__nv_fp8_e5m2>(ncclFloat8e5m2, "float8e5m2");
  } else {
    float* memory = upload(std::vector<float>{0});
    EXPECT_NCCL(ncclInvalidArgument, ncclAllReduce(memory, memory, 1, ncclFloat8e4m3, ncclSum, comms[3], 0));
    OK(cudaFree(memory));
  }
  check_accumulation();
  check_moves();
  check_one_rank();
  for (ncclComm_t comm : comms) NCCL(ncclCommDestroy(comm));
  return verdict();
}
