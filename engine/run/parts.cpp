// Concatenations and slices along the samples, which lie one after the other in memory in every layout.
#include <algorithm>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::Concatenate;
using kernels::Copy;

class Sharing {
 public:
  explicit Sharing(Plan& plan) : plan_(plan), read_(plan.values.size(), false), made_(plan.values.size(), false) {
    for (const Step& step : plan.steps) {
      for (int value : step.inputs) read_[index(value)] = true;
      for (int value : step.outputs) made_[index(value)] = true;
    }
    for (const Write& write : plan.writes) read_[index(write.value)] = true;
    // What is read under another shape is read.
    for (std::size_t v = 0; v < plan.values.size(); ++v)
      for (int of = plan.values[v].view_of; read_[v] && of >= 0; of = plan.values[index(of)].view_of) read_[index(of)] = true;
  }

  void run() {
    std::erase_if(plan_.steps, [&](const Step& step) {
      if (const auto* concatenate = std::get_if<Concatenate>(&step.spec)) return share(step, *concatenate);
      if (const auto* copy = std::get_if<Copy>(&step.spec)) return share(step, *copy);
      return false;
    });
  }

 private:
  Value& value(int v) { return plan_.values[index(v)]; }

  // What a view shows all of, as it lies in memory.
  int whole_of(int v) {
    const int root = plan_.root(v);
    return value(root).desc.elements() == value(v).desc.elements() && value(root).desc.layout == Layout::plain ? root : v;
  }

  static bool aligned(std::int64_t elements, DType type) {
    return elements * static_cast<std::int64_t>(size_of(type)) % alignment == 0;
  }

  // The parts become views of the whole, so each is made by a step, once, and is nothing else's part.
  bool share(const Step& step, const Concatenate& concatenate) {
    if (concatenate.axis != 0) return false;
    std::int64_t first = 0;
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const int part = whole_of(step.inputs[i]);
      const auto is_part = [&](int other) { return plan_.root(other) == part; };
      const bool own = value(part).view_of < 0 && value(part).home == Value::Home::arena && made_[index(part)] &&
                       std::count_if(step.inputs.begin(), step.inputs.end(), is_part) == 1 &&
                       std::none_of(plan_.writes.begin(), plan_.writes.end(), [&](const Write& w) { return is_part(w.value); });
      if (!own || concatenate.inputs[i].layout != concatenate.output.layout || !aligned(first, concatenate.output.type))
        return false;
      first += concatenate.inputs[i].elements();
    }
    first = 0;
    for (int input : step.inputs) {
      const int part = whole_of(input);
      value(part).view_of = step.outputs[0];
      value(part).first = first;
      first += value(part).desc.elements();
    }
    return true;
  }

  bool share(const Step& step, const Copy& copy) {
    const Shape &from = copy.input.shape, &to = copy.output.shape;
    if (copy.input.type != copy.output.type || copy.input.layout != copy.output.layout || from.rank() != to.rank() ||
        from.rank() == 0 || copy.extent != to)
      return false;
    for (int d = 0; d < from.rank(); ++d) {
      if (copy.permutation[index(d)] != d || copy.output_start[d] != 0) return false;
      if (d > 0 && (copy.input_start[d] != 0 || from[d] != to[d])) return false;
    }
    const std::int64_t first = copy.input_start[0] * (from.elements() / from[0]);
    const int part = step.outputs[0], whole = step.inputs[0];
    if (value(part).home != Value::Home::arena) return false;
    // The host reads anything; a kernel wants its operands aligned.
    if (read_[index(part)] && !aligned(plan_.first_in_root(whole) + first, copy.input.type)) return false;
    value(part).view_of = whole;
    value(part).first = first;
    return true;
  }

  Plan& plan_;
  std::vector<bool> read_, made_;
};

}  // namespace

void share_parts(Plan& plan) { Sharing(plan).run(); }

}  // namespace gannet::plan
