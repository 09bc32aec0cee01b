// Sums of pointwise chains on all cores: tasks of a fixed size, whose partial sums are added in order.
#include "kernels/cpu/chain_plan.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t task_elements = 65536;
constexpr std::int64_t longest_short_row = 256;

class ReductionKernel final : public Kernel {
 public:
  explicit ReductionKernel(const Reduction& spec)
      : plan_(spec.chain, "reduction"),
        elements_(spec.chain.shape.elements()),
        threads_(threads_for(elements_)),
        sum_task_(GANNET_FOR_VECTOR_SET(vector_set(), sum_task)),
        sum_short_rows_(GANNET_FOR_VECTOR_SET(vector_set(), sum_short_rows)) {
    sum_.scale = spec.scale;
    plan_axes(walk(spec.chain.shape, spec.chain.layout, spec.output.shape));
  }

  std::size_t workspace_bytes() const override {
    return !short_rows_ && sum_.chunks > 1 ? static_cast<std::size_t>(tasks() * sum_.strip) * sizeof(double) : 0;
  }

  void run(const Arguments& arguments) override {
    auto* result = static_cast<float*>(arguments.outputs[0]);
    if (short_rows_) {
      parallel_for(threads_, threads_, [&](std::int64_t part, int) {
        sum_short_rows_(plan_.chain(), sum_, arguments.inputs, result, sum_.outer_kept * part / threads_,
                        sum_.outer_kept * (part + 1) / threads_);
      });
    } else if (sum_.chunks == 1) {
      parallel_for(threads_, tasks(), [&](std::int64_t task, int) {
        double sums[max_tile];
        sum_task_(plan_.chain(), sum_, arguments.inputs, task, sums);
        store(result, task, sums);
      });
    } else {
      auto* partials = static_cast<double*>(arguments.workspace);
      parallel_for(threads_, tasks(), [&](std::int64_t task, int) {
        sum_task_(plan_.chain(), sum_, arguments.inputs, task, partials + task * sum_.strip);
      });
      for (std::int64_t strip = 0; strip < sum_.outer_kept * sum_.strips; ++strip) {
        double sums[max_tile] = {};
        for (std::int64_t chunk = 0; chunk < sum_.chunks; ++chunk) {
          const double* partial = partials + (strip * sum_.chunks + chunk) * sum_.strip;
          for (std::int64_t i = 0; i < width(strip % sum_.strips); ++i) sums[i] += partial[i];
        }
        store(result, strip, sums);
      }
    }
  }

 private:
  void plan_axes(std::vector<WalkedAxis> axes) {
    sum_.columns = 1;
    sum_.rows = 1;
    if (axes.back().step != 0) {
      sum_.columns = axes.back().extent;
      sum_.column_step = axes.back().step;
      axes.pop_back();
    }
    if (!axes.empty() && axes.back().step == 0) {
      sum_.rows = axes.back().extent;
      axes.pop_back();
    }
    sum_.outer = static_cast<int>(axes.size());
    sum_.outer_kept = sum_.outer_summed = 1;
    std::int64_t flat_step = sum_.rows * sum_.columns;
    for (int d = sum_.outer - 1; d >= 0; --d) {
      sum_.extent[d] = axes[d].extent;
      sum_.flat_step[d] = flat_step;
      sum_.result_step[d] = axes[d].step;
      sum_.kept[d] = axes[d].step != 0;
      (sum_.kept[d] ? sum_.outer_kept : sum_.outer_summed) *= axes[d].extent;
      flat_step *= axes[d].extent;
    }
    short_rows_ = sum_.columns == 1 && sum_.outer_summed == 1 && sum_.rows <= longest_short_row && sum_.outer_kept > 1;
    plan_.hold_rows(short_rows_ ? sum_.rows : sum_.columns);
    const std::int64_t tile = plan_.chain().tile;
    if (short_rows_ && sum_.rows <= tile) {
      sum_.tile_rows = tile / sum_.rows;
      return;
    }
    short_rows_ = false;
    sum_.strip = std::min(sum_.columns, tile);
    sum_.strips = (sum_.columns + sum_.strip - 1) / sum_.strip;
    sum_.tile_rows = sum_.strips == 1 ? tile / sum_.columns : 1;
    sum_.task_rows = std::max<std::int64_t>(1, task_elements / sum_.strip / sum_.tile_rows) * sum_.tile_rows;
    sum_.chunks = (sum_.outer_summed * sum_.rows + sum_.task_rows - 1) / sum_.task_rows;
  }

  std::int64_t tasks() const { return sum_.outer_kept * sum_.strips * sum_.chunks; }
  std::int64_t width(std::int64_t strip) const { return std::min(sum_.strip, sum_.columns - strip * sum_.strip); }

  // Sums of strip `index` (of outer_kept * strips) to their places in the result.
  void store(float* result, std::int64_t index, const double* sums) const {
    std::int64_t at = index % sum_.strips * sum_.strip * sum_.column_step;
    std::int64_t rest = index / sum_.strips;
    for (int d = sum_.outer - 1; d >= 0; --d) {
      if (!sum_.kept[d]) continue;
      at += rest % sum_.extent[d] * sum_.result_step[d];
      rest /= sum_.extent[d];
    }
    for (std::int64_t i = 0; i < width(index % sum_.strips); ++i) {
      result[at + i * sum_.column_step] = static_cast<float>(sums[i] * static_cast<double>(sum_.scale));
    }
  }

  ChainPlan plan_;
  Sum sum_{};
  bool short_rows_ = false;
  std::int64_t elements_;
  int threads_;
  decltype(&baseline::sum_task) sum_task_;
  decltype(&baseline::sum_short_rows) sum_short_rows_;
};

}  // namespace

std::unique_ptr<Kernel> make_reduction(const Reduction& spec) {
  check_preconditions(spec);
  return std::make_unique<ReductionKernel>(spec);
}

}  // namespace gannet::kernels::cpu
