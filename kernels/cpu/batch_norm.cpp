// Batch normalisation on all cores: a pass that sums and one that applies, over tasks of a fixed size whose sums are merged in
// order. Where a block of channels stays in a core's cache, the core makes both passes before it takes the next block.
#include "kernels/cpu/batch_norm.h"

#include <cmath>
#include <numeric>

#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t task_elements = 65536;
constexpr std::int64_t widest_vector = 16;
constexpr std::int64_t shortest_line = 64;     // long enough to hide the latency of adding to the same lane again
constexpr std::int64_t lines_of_a_shift = 16;  // from so few a mean is near enough to subtract before squaring
constexpr std::size_t cached_bytes = 512 << 10;

std::int64_t padded(std::int64_t lanes) { return (lanes + widest_vector - 1) / widest_vector * widest_vector; }

// How x lies in memory: slices, one for each group of samples and block of channels, each of `runs` runs of `rows` rows of
// `width` channels.
struct Slices {
  explicit Slices(const BatchNorm& spec) {
    const Shape& shape = spec.x.shape;
    const std::int64_t channels = shape[shape.rank() - 1];
    const std::int64_t samples = shape[0] / spec.groups;
    const std::int64_t pixels = shape.rank() == 4 ? shape[1] * shape[2] : 1;
    if (spec.x.layout == Layout::plain) {
      width = channels;
      runs = 1;
      rows = samples * pixels;
    } else {
      width = spec.x.layout == Layout::blocked8 ? 8 : 16;
      runs = samples;
      rows = pixels;
    }
    blocks = channels / width;
    count = spec.groups * blocks;
    run_step = pixels * channels;
    group_step = samples * pixels * channels;
    block_step = pixels * width;
    const std::int64_t fitting = std::lcm(width, widest_vector);
    line = width >= shortest_line ? width : (shortest_line + fitting - 1) / fitting * fitting;
    task_rows = std::max<std::int64_t>(1, task_elements / line) * (line / width);
    tasks = (runs * rows + task_rows - 1) / task_rows;
  }

  std::int64_t start(std::int64_t slice) const { return slice / blocks * group_step + slice % blocks * block_step; }
  std::int64_t channel(std::int64_t slice) const { return slice % blocks * width; }
  std::int64_t rows_of(std::int64_t task) const { return std::min(task_rows, runs * rows - task * task_rows); }

  // body(first element, span) for the runs, or parts of runs, of a task.
  template <class Body>
  void for_spans(std::int64_t slice, std::int64_t task, const Body& body) const {
    std::int64_t row = task * task_rows;
    const std::int64_t end = row + rows_of(task);
    while (row < end) {
      const std::int64_t run = row / rows, inner = row % rows;
      const std::int64_t n = std::min(rows - inner, end - row);
      const std::int64_t elements = n * width;
      body(start(slice) + run * run_step + inner * width, Span{elements / line, line, elements % line});
      row += n;
    }
  }

  std::int64_t width, runs, rows, blocks, count, run_step, group_step, block_step;
  std::int64_t line;              // elements: whole rows, and whole vectors where rows are short
  std::int64_t task_rows, tasks;  // of a slice
};

class BatchNormKernel final : public Kernel {
 public:
  explicit BatchNormKernel(const BatchNorm& spec)
      : spec_(spec), slices_(spec), threads_(threads_for(spec.x.elements())), set_(vector_set()) {
    const std::size_t operands = spec.kind == BatchNorm::Kind::forward ? 1 : 2;
    const std::size_t slice_bytes = operands * spec.x.bytes() / static_cast<std::size_t>(slices_.count);
    by_slice_ = slice_bytes <= cached_bytes && (slices_.count % threads_ == 0 || slices_.count >= 4 * threads_);
  }

  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(partial_doubles() + slice_doubles() + threads_ * scratch_doubles()) * sizeof(double);
  }

  void run(const Arguments& arguments) override {
    if (by_slice_) {
      parallel_for(threads_, slices_.count, [&](std::int64_t slice, int thread) {
        prepare(arguments, slice);
        for (std::int64_t task = 0; task < slices_.tasks; ++task) sum(arguments, slice, task, thread);
        finish(arguments, slice);
        for (std::int64_t task = slices_.tasks - 1; task >= 0; --task) apply(arguments, slice, task, thread);
      });
    } else {
      const std::int64_t all = slices_.count * slices_.tasks;
      for (std::int64_t slice = 0; slice < slices_.count; ++slice) prepare(arguments, slice);
      parallel_for(threads_, all,
                   [&](std::int64_t task, int thread) { sum(arguments, task / slices_.tasks, task % slices_.tasks, thread); });
      for (std::int64_t slice = 0; slice < slices_.count; ++slice) finish(arguments, slice);
      // Backwards: what was read last may still be in the cache.
      parallel_for(threads_, all, [&](std::int64_t task, int thread) {
        const std::int64_t from_end = mirrored(task, all);
        apply(arguments, from_end / slices_.tasks, from_end % slices_.tasks, thread);
      });
    }
    if (!forward()) sum_groups(arguments);
    if (spec_.momentum > 0) move_running_statistics(arguments);
  }

 private:
  bool forward() const { return spec_.kind == BatchNorm::Kind::forward; }

  // Workspace, in doubles: two sums per channel and task; per slice two sums and (as floats) the five of NormLanes; per thread
  // two sums and (as floats) eight arrays, per lane.
  std::int64_t partial_doubles() const { return slices_.count * slices_.tasks * 2 * slices_.width; }
  std::int64_t slice_doubles() const { return slices_.count * (2 + 3) * slices_.width; }
  std::int64_t scratch_doubles() const { return (2 + 4) * padded(slices_.line); }

  double* partial(const Arguments& arguments, std::int64_t slice, std::int64_t task) const {
    return static_cast<double*>(arguments.workspace) + (slice * slices_.tasks + task) * 2 * slices_.width;
  }
  double* totals(const Arguments& arguments, std::int64_t slice) const {
    return static_cast<double*>(arguments.workspace) + partial_doubles() + slice * 5 * slices_.width;
  }
  float* channel_floats(const Arguments& arguments, std::int64_t slice, int index) const {
    return reinterpret_cast<float*>(totals(arguments, slice) + 2 * slices_.width) + index * slices_.width;
  }
  double* scratch(const Arguments& arguments, int thread) const {
    return static_cast<double*>(arguments.workspace) + partial_doubles() + slice_doubles() + thread * scratch_doubles();
  }
  float* lane_floats(const Arguments& arguments, int thread, int index) const {
    return reinterpret_cast<float*>(scratch(arguments, thread) + 2 * padded(slices_.line)) + index * padded(slices_.line);
  }

  const void* at(const void* tensor, std::int64_t element) const {
    return static_cast<const std::byte*>(tensor) + element * static_cast<std::int64_t>(size_of(spec_.x.type));
  }
  void* at(void* tensor, std::int64_t element) const {
    return static_cast<std::byte*>(tensor) + element * static_cast<std::int64_t>(size_of(spec_.x.type));
  }

  std::int64_t mirrored(std::int64_t task, std::int64_t all) const {
    // Within the share of the thread that summed it.
    for (int thread = 0; thread < threads_; ++thread) {
      const std::int64_t begin = all * thread / threads_, end = all * (thread + 1) / threads_;
      if (task < end) return begin + (end - 1 - task);
    }
    return task;
  }

  // A channel's values to all lanes that hold the channel; zeros behind.
  void spread(const float* channels, float* lanes) const {
    for (std::int64_t i = 0; i < slices_.line; i += slices_.width) std::copy_n(channels, slices_.width, lanes + i);
    std::fill(lanes + slices_.line, lanes + padded(slices_.line), 0.0f);
  }
  NormLanes spread_all(const Arguments& arguments, std::int64_t slice, int thread) const {
    const int arrays = forward() ? 3 : 5;
    for (int k = 0; k < arrays; ++k) spread(channel_floats(arguments, slice, k), lane_floats(arguments, thread, 2 + k));
    return {lane_floats(arguments, thread, 2), lane_floats(arguments, thread, 3), lane_floats(arguments, thread, 4),
            lane_floats(arguments, thread, 5), lane_floats(arguments, thread, 6)};
  }
  double fold(const double* lanes, std::int64_t channel) const {
    double sum = 0;
    for (std::int64_t i = channel; i < slices_.line; i += slices_.width) sum += lanes[i];
    return sum;
  }

  // Backward: what the first pass needs of the forward pass.
  void prepare(const Arguments& arguments, std::int64_t slice) const {
    if (forward()) return;
    const auto* gamma = static_cast<const float*>(arguments.inputs[1]) + slices_.channel(slice);
    const auto* beta = static_cast<const float*>(arguments.inputs[2]) + slices_.channel(slice);
    const std::int64_t first = slice * slices_.width;  // slices and (group, channel) have one order
    const auto* mean = static_cast<const float*>(arguments.inputs[3]) + first;
    const auto* variance = static_cast<const float*>(arguments.inputs[4]) + first;
    for (std::int64_t c = 0; c < slices_.width; ++c) {
      channel_floats(arguments, slice, 0)[c] = mean[c];
      channel_floats(arguments, slice, 1)[c] = static_cast<float>(gamma[c] * inverse_deviation(variance[c]));
      channel_floats(arguments, slice, 2)[c] = beta[c];
    }
  }

  double inverse_deviation(double variance) const { return 1 / std::sqrt(variance + static_cast<double>(spec_.epsilon)); }

  void sum(const Arguments& arguments, std::int64_t slice, std::int64_t task, int thread) const {
    double* first = scratch(arguments, thread);
    double* second = first + padded(slices_.line);
    float* lanes = lane_floats(arguments, thread, 0);
    double* result = partial(arguments, slice, task);
    std::fill(first, first + 2 * padded(slices_.line), 0.0);
    if (forward()) {
      const float* shift = choose_shift(arguments, slice, task, thread);
      slices_.for_spans(slice, task, [&](std::int64_t start, const Span& span) {
        GANNET_FOR_VECTOR_SET(set_, sum_moments)
        (spec_.x.type, span, at(arguments.inputs[0], start), shift, lanes, first, second);
      });
      const auto rows = static_cast<double>(slices_.rows_of(task));
      for (std::int64_t c = 0; c < slices_.width; ++c) {
        const double sum = fold(first, c), squares = fold(second, c);
        result[c] = shift[c] + sum / rows;
        result[slices_.width + c] = squares - sum * sum / rows;
      }
    } else {
      const NormLanes norm = spread_all(arguments, slice, thread);
      slices_.for_spans(slice, task, [&](std::int64_t start, const Span& span) {
        GANNET_FOR_VECTOR_SET(set_, sum_gradients)
        (spec_.x.type, span, at(arguments.inputs[0], start), at(arguments.inputs[5], start), spec_.activation, norm, lanes,
         first, second);
      });
      for (std::int64_t c = 0; c < slices_.width; ++c) {
        result[c] = fold(first, c);
        result[slices_.width + c] = fold(second, c);
      }
    }
  }

  // Squares are summed about a value near the mean, or a mean far from 0 would cancel all that the variance is.
  const float* choose_shift(const Arguments& arguments, std::int64_t slice, std::int64_t task, int thread) const {
    double* sums = scratch(arguments, thread);
    float* shift = lane_floats(arguments, thread, 2);
    float* zeros = lane_floats(arguments, thread, 3);
    std::fill(zeros, zeros + padded(slices_.line), 0.0f);
    bool chosen = false;
    slices_.for_spans(slice, task, [&](std::int64_t start, const Span& span) {
      if (chosen) return;
      chosen = true;
      const Span few{std::min(span.lines, lines_of_a_shift), span.length, span.lines > 0 ? 0 : span.rest};
      GANNET_FOR_VECTOR_SET(set_, sum_moments)
      (spec_.x.type, few, at(arguments.inputs[0], start), zeros, lane_floats(arguments, thread, 0), sums,
       sums + padded(slices_.line));
      const std::int64_t rows = (few.lines * few.length + few.rest) / slices_.width;
      for (std::int64_t c = 0; c < slices_.width; ++c) zeros[c] = static_cast<float>(fold(sums, c) / static_cast<double>(rows));
    });
    spread(zeros, shift);
    std::fill(sums, sums + 2 * padded(slices_.line), 0.0);
    return shift;
  }

  void finish(const Arguments& arguments, std::int64_t slice) const {
    const std::int64_t width = slices_.width;
    double* first = totals(arguments, slice);
    double* second = first + width;
    std::fill(first, first + 2 * width, 0.0);
    double rows = 0;
    for (std::int64_t task = 0; task < slices_.tasks; ++task) {
      const double* result = partial(arguments, slice, task);
      const auto more = static_cast<double>(slices_.rows_of(task));
      if (forward()) {  // Chan, Golub & LeVeque 1979
        for (std::int64_t c = 0; c < width; ++c) {
          const double difference = result[c] - first[c];
          first[c] += difference * (more / (rows + more));
          second[c] += result[width + c] + difference * difference * (rows * more / (rows + more));
        }
      } else {
        for (std::int64_t c = 0; c < 2 * width; ++c) first[c] += result[c];
      }
      rows += more;
    }
    forward() ? finish_forward(arguments, slice, rows) : finish_backward(arguments, slice, rows);
  }

  void finish_forward(const Arguments& arguments, std::int64_t slice, double rows) const {
    const auto* gamma = static_cast<const float*>(arguments.inputs[1]) + slices_.channel(slice);
    const auto* beta = static_cast<const float*>(arguments.inputs[2]) + slices_.channel(slice);
    auto* mean = static_cast<float*>(arguments.outputs[1]) + slice * slices_.width;
    auto* variance = static_cast<float*>(arguments.outputs[2]) + slice * slices_.width;
    const double* means = totals(arguments, slice);
    const double* squares = means + slices_.width;
    for (std::int64_t c = 0; c < slices_.width; ++c) {
      // Rounding may leave less than nothing; a NaN stays.
      const double biased = squares[c] < 0 ? 0 : squares[c] / rows;
      mean[c] = static_cast<float>(means[c]);
      variance[c] = static_cast<float>(biased);
      channel_floats(arguments, slice, 0)[c] = mean[c];
      const double scale = gamma[c] * inverse_deviation(biased);
      channel_floats(arguments, slice, 1)[c] = static_cast<float>(scale);
      // With what rounding takes from the mean, which is much where the mean is far from 0.
      channel_floats(arguments, slice, 2)[c] = static_cast<float>(beta[c] - (means[c] - mean[c]) * scale);
    }
  }

  void finish_backward(const Arguments& arguments, std::int64_t slice, double rows) const {
    const auto* variance = static_cast<const float*>(arguments.inputs[4]) + slice * slices_.width;
    const auto* gamma = static_cast<const float*>(arguments.inputs[1]) + slices_.channel(slice);
    const double* sums = totals(arguments, slice);
    double* products = totals(arguments, slice) + slices_.width;
    for (std::int64_t c = 0; c < slices_.width; ++c) {
      const double inverse = inverse_deviation(variance[c]);
      products[c] *= inverse;  // now of dz and the normalised x: the gradient of gamma
      channel_floats(arguments, slice, 3)[c] = static_cast<float>(gamma[c] * inverse * inverse * products[c] / rows);
      channel_floats(arguments, slice, 4)[c] = static_cast<float>(gamma[c] * inverse * sums[c] / rows);
    }
  }

  void apply(const Arguments& arguments, std::int64_t slice, std::int64_t task, int thread) const {
    const NormLanes norm = spread_all(arguments, slice, thread);
    slices_.for_spans(slice, task, [&](std::int64_t start, const Span& span) {
      const void* x = at(arguments.inputs[0], start);
      void* result = at(arguments.outputs[0], start);
      if (forward()) {
        GANNET_FOR_VECTOR_SET(set_, normalise)(spec_.x.type, span, x, spec_.activation, norm, result);
      } else {
        GANNET_FOR_VECTOR_SET(set_, normalise_gradient)
        (spec_.x.type, span, x, at(arguments.inputs[5], start), spec_.activation, norm, result);
      }
    });
  }

  void sum_groups(const Arguments& arguments) const {
    auto* dgamma = static_cast<float*>(arguments.outputs[1]);
    auto* dbeta = static_cast<float*>(arguments.outputs[2]);
    for (std::int64_t block = 0; block < slices_.blocks; ++block) {
      for (std::int64_t c = 0; c < slices_.width; ++c) {
        double sum = 0, product = 0;
        for (std::int64_t slice = block; slice < slices_.count; slice += slices_.blocks) {
          sum += totals(arguments, slice)[c];
          product += totals(arguments, slice)[slices_.width + c];
        }
        dbeta[block * slices_.width + c] = static_cast<float>(sum);
        dgamma[block * slices_.width + c] = static_cast<float>(product);
      }
    }
  }

  void move_running_statistics(const Arguments& arguments) const {
    const std::int64_t channels = slices_.blocks * slices_.width;
    const double values = static_cast<double>(slices_.runs * slices_.rows);
    const auto move = [&](int running, int batch, double scale) {
      const auto* before = static_cast<const float*>(arguments.inputs[running]);
      const auto* statistics = static_cast<const float*>(arguments.outputs[batch]);
      auto* after = static_cast<float*>(arguments.outputs[running]);
      for (std::int64_t c = 0; c < channels; ++c) {
        double value = before[c];
        for (int group = 0; group < spec_.groups; ++group)
          value += static_cast<double>(spec_.momentum) * (scale * statistics[group * channels + c] - value);
        after[c] = static_cast<float>(value);
      }
    };
    move(3, 1, 1);
    move(4, 2, values / (values - 1));
  }

  BatchNorm spec_;
  Slices slices_;
  int threads_;
  VectorSet set_;
  bool by_slice_;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const BatchNorm& spec) {
  check_preconditions(spec);
  return std::make_unique<BatchNormKernel>(spec);
}

}  // namespace gannet::kernels::cpu
