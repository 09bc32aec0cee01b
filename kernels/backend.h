// What every backend offers: a kernel for each operator family, and the memory it works in.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "kernels/all_reduce.h"
#include "kernels/batch_norm.h"
#include "kernels/convolution.h"
#include "kernels/convolution_backward.h"
#include "kernels/copy.h"
#include "kernels/matmul.h"
#include "kernels/optimizer.h"
#include "kernels/pointwise.h"
#include "kernels/random.h"
#include "kernels/sigmoid_bce.h"

namespace gannet::kernels {

using KernelSpec = std::variant<Convolution, ConvolutionBackward, Matmul, Pointwise, Reduction, BatchNorm, SigmoidBce,
                                OptimizerUpdate, EmaUpdate, Bf16Copies, Random, Copy, Concatenate, AllReduce>;

// Pointers in the order that the spec's header gives. 64-byte aligned, never null.
struct Arguments {
  const void* const* inputs;
  void* const* outputs;
  void* workspace;  // workspace_bytes() of them, 64-byte aligned; contents undefined before and after
};

// One operator prepared for one set of shapes and layouts. run() allocates nothing and may be called again and again.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual std::size_t workspace_bytes() const { return 0; }
  // Layout changes that one run makes inside.
  struct Reorders {
    int pictures = 0, filters = 0;
  };
  virtual Reorders reorders() const { return {}; }
  virtual void run(const Arguments& arguments) = 0;
  // What run() started beside the backend's own work (see AllReduce) is over for what the backend is given from here on.
  virtual void await() {}
};

// A block of a backend's memory.
struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// Kernels taken down once, to be started together again and again, with what the host hands them and what it gets back.
class Run {
 public:
  virtual ~Run() = default;
  // The host's side of the inputs: written while no launch is under way, copied by the next.
  virtual void* inputs() = 0;
  // After all that was started before. Does not wait.
  virtual void launch() = 0;
  virtual void wait() = 0;  // until the last launch is over
  // The host's side of the results, once waited for.
  virtual const void* results() = 0;
};

// Where a library that brings kernels of its own works beside the backend. Outlived by the backend.
class SideStream {
 public:
  virtual ~SideStream() = default;
  virtual void* stream() const = 0;  // a cudaStream_t

  // A piece of work on the stream, also among kernels that are taken down (Backend::record).
  class Work {
   public:
    virtual ~Work() = default;
    virtual void begin() = 0;  // what the stream is given from here on starts once what the backend was given before is done
    virtual void end() = 0;
    virtual void await() = 0;  // what the backend is given from here on starts once the work up to end() is done
  };
  virtual std::unique_ptr<Work> work() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // with the machine's vector set or device: "cpu (AVX-512, 2 threads)"

  // Checks every precondition of the spec's header (InputError names operator and operands).
  virtual std::unique_ptr<Kernel> create(const KernelSpec& spec) = 0;

  // The element type that values of `type` are kept in: the reference backend keeps f32 and bf16 as f64.
  virtual DType storage(DType type) const { return type; }
  // The layouts that convolutions of these operands run best in; plain where channels do not divide.
  virtual Layout picture_layout(const Shape& nhwc, DType type) const = 0;
  virtual Layout filter_layout(const Shape& krsc, DType type) const = 0;
  virtual bool supports(DType compute) const = 0;          // is bf16 arithmetic native here?
  virtual bool ends_with_slopes() const { return false; }  // does Convolution::slope_of save a pass over memory?
  // Is this one kernel here, and faster than its two parts? Where it is not, they are left apart.
  virtual bool computes_together(const ConvolutionBackward& /*spec*/) const { return false; }

  virtual void* allocate(std::size_t bytes) = 0;  // 64-byte aligned; RuntimeError when there is not enough
  virtual void release(void* memory) noexcept = 0;
  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  // Does allocate() give memory that the host may touch?
  virtual bool host_memory() const { return true; }
  // Launches that may be under way at once, each of a Run with inputs of its own: with two, the host writes the inputs of one
  // while the device works on the other.
  virtual int launches_ahead() const { return 1; }
  // Takes down the kernels that `kernels` runs. inputs, results: where they read and leave what the host writes and reads.
  // The default, for host memory, calls `kernels` at every launch.
  virtual std::unique_ptr<Run> record(std::function<void()> kernels, Block inputs, Block results);

  // Null where there is no such thing: what runs on the host is done when it returns.
  virtual std::unique_ptr<SideStream> side_stream() { return nullptr; }

  // A named range of the host's work that profilers show, with the kernels that it starts. Ranges nest. Neither allocates.
  virtual void begin_range(const std::string& /*name*/) {}
  virtual void end_range() {}
};

// A range for as long as it lives.
class Range {
 public:
  Range(Backend& backend, const std::string& name) : backend_(backend) { backend_.begin_range(name); }
  ~Range() { backend_.end_range(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  Backend& backend_;
};

// threads: 0 is all that the process may use. The process-wide OpenMP pool is what runs them.
std::unique_ptr<Backend> make_cpu_backend(int threads = 0);
// Plain loops in double precision; plain layouts only.
std::unique_ptr<Backend> make_reference_backend();

// Work and least traffic of a spec: FLOPs (a multiply-add is 2) and bytes that must be read and written once.
struct Cost {
  double flops = 0;
  double bytes = 0;
};
Cost cost_of(const KernelSpec& spec);

}  // namespace gannet::kernels
