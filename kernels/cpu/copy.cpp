// Copies and concatenations: boxes on all cores, and zeros around them.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/box_copy.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

// Zeros everywhere but in a box: whole runs before and behind it where the layout lets them be told, else everywhere.
class Surroundings {
 public:
  explicit Surroundings(const Copy& spec)
      : shape_(spec.output.shape), start_(spec.output_start), extent_(spec.extent), element_(size_of(spec.output.type)) {
    const bool outermost_first = spec.output.layout == Layout::plain || spec.output.layout == Layout::blocked8 ||
                                 spec.output.layout == Layout::blocked16;
    for (int d = 0; d < shape_.rank(); ++d) {
      if (extent_[d] == shape_[d]) continue;
      if (spec.output.layout != Layout::plain && (d > 0 || !outermost_first)) everywhere_ = true;
      last_partial_ = d;
    }
    threads_ = threads_for(shape_.elements() - extent_.elements());
  }

  void clear(void* output) const {
    auto* bytes = static_cast<std::byte*>(output);
    if (everywhere_) {
      const std::int64_t elements = shape_.elements();
      parallel_for(threads_, threads_,
                   [&](std::int64_t part, int) { zero(bytes, elements * part / threads_, elements * (part + 1) / threads_); });
      return;
    }
    // For each dimension: inside of the box in those before it, what lies before and behind the box in this one.
    std::int64_t outer = 1, inner = shape_.elements();
    for (int d = 0; d <= last_partial_; ++d) {
      inner /= shape_[d];
      parallel_for(threads_, outer, [&](std::int64_t index, int) {
        std::int64_t first = 0, stride = inner * shape_[d];
        for (int k = d - 1; k >= 0; --k) {
          first += (start_[k] + index % extent_[k]) * stride;
          stride *= shape_[k];
          index /= extent_[k];
        }
        zero(bytes, first, first + start_[d] * inner);
        zero(bytes, first + (start_[d] + extent_[d]) * inner, first + shape_[d] * inner);
      });
      outer *= extent_[d];
    }
  }

 private:
  void zero(std::byte* bytes, std::int64_t begin, std::int64_t end) const {
    std::memset(bytes + static_cast<std::size_t>(begin) * element_, 0, static_cast<std::size_t>(end - begin) * element_);
  }

  Shape shape_, start_, extent_;
  std::size_t element_;
  bool everywhere_ = false;
  int last_partial_ = -1;  // the last dimension that the box does not fill
  int threads_ = 1;
};

class CopyKernel final : public Kernel {
 public:
  explicit CopyKernel(const Copy& spec) : surroundings_(spec), box_(spec) {}
  void run(const Arguments& arguments) override {
    surroundings_.clear(arguments.outputs[0]);
    box_.run(arguments.inputs[0], arguments.outputs[0]);
  }

 private:
  Surroundings surroundings_;
  BoxCopy box_;
};

class ConcatenateKernel final : public Kernel {
 public:
  explicit ConcatenateKernel(const Concatenate& spec) {
    const int rank = spec.output.shape.rank();
    Copy copy;
    copy.output = spec.output;
    copy.input_start = copy.output_start = spec.output.shape;
    for (int d = 0; d < rank; ++d) {
      copy.permutation.push_back(d);
      copy.input_start[d] = copy.output_start[d] = 0;
    }
    for (const TensorDesc& input : spec.inputs) {
      copy.input = input;
      copy.extent = input.shape;
      boxes_.emplace_back(copy);
      copy.output_start[spec.axis] += input.shape[spec.axis];
    }
  }
  void run(const Arguments& arguments) override {
    for (std::size_t i = 0; i < boxes_.size(); ++i) boxes_[i].run(arguments.inputs[i], arguments.outputs[0]);
  }

 private:
  std::vector<BoxCopy> boxes_;
};

}  // namespace

std::unique_ptr<Kernel> make_copy(const Copy& spec) {
  check_preconditions(spec);
  return std::make_unique<CopyKernel>(spec);
}

std::unique_ptr<Kernel> make_concatenate(const Concatenate& spec) {
  check_preconditions(spec);
  return std::make_unique<ConcatenateKernel>(spec);
}

}  // namespace gannet::kernels::cpu
