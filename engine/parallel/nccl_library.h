// What is used of NCCL, as its header declares it for versions 2.13 and later, loaded at run time: a program runs where it is
// not installed.
#pragma once

#include <cstddef>
#include <string>

namespace gannet {

struct Nccl {
  using Communicator = struct ncclComm*;
  struct UniqueId {
    char bytes[128];
  };
  enum Result : int { success = 0 };
  enum Type : int { f32 = 7, bf16 = 9 };
  enum Operation : int { sum = 0, mean = 4 };

  Result (*version)(int* version);
  Result (*unique_id)(UniqueId* id);
  Result (*init)(Communicator* communicator, int ranks, UniqueId id, int rank);
  Result (*destroy)(Communicator communicator);
  Result (*abort)(Communicator communicator);
  Result (*all_reduce)(const void* input, void* output, std::size_t count, Type type, Operation operation,
                       Communicator communicator, void* stream);
  Result (*group_start)();
  Result (*group_end)();
  const char* (*error_text)(Result result);
  const char* (*last_error)(Communicator communicator);  // of this thread

  // Throws RuntimeError with what was being done and NCCL's own text.
  void check(Result result, const char* doing) const;
  std::string version_text() const;  // "2.28.3"
};

// Of libnccl.so.2, where the loader finds it, beside the CUDA runtime, or in the wheel beside that one's. It stays for as long
// as the process: NCCL has threads. RuntimeError says what is missing.
const Nccl& nccl();

}  // namespace gannet
