// --replay: each step's inputs from a safetensors file, to compare a run number by number with another framework's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/safetensors.h"
#include "engine/train/step.h"

namespace gannet {

class Replay {
 public:
  // Checks that the file has what every program of the step reads, in its shape (pictures (S,N,C,H,W)), for `steps` steps.
  // InputError names the tensor that is missing, misshapen or short. Tensors that no program reads are named too. The file has
  // whole batches; each rank of the step reads its run of them.
  Replay(const std::filesystem::path& file, const Step& step, std::int64_t steps);

  // Writes entry `run` of everything that the program reads.
  void feed(Program& program, std::int64_t run);

 private:
  struct Source {
    const Program* program;
    std::string name;
    TensorView tensor;         // (S, …)
    std::vector<float> entry;  // of pictures: an entry as (N,H,W,C)
    std::size_t stride = 0;    // bytes from entry to entry
    std::size_t first = 0;     // bytes in each before this rank's samples
  };
  Source make_source(const Program& program, const std::string& name, std::int64_t entries) const;

  SafetensorsFile file_;
  TraceOptions options_;
  std::vector<Source> sources_;
};

}  // namespace gannet
