// Where what is reduced over the ranks lies: in flat buckets, that what makes it writes to.
#include <algorithm>
#include <map>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::AllReduce;
using kernels::OptimizerUpdate;

// A tensor of a reduction, and the step after which it is there; -1: from the start.
struct Part {
  int value, result, ready;
};

class Buckets {
 public:
  Buckets(Plan& plan, std::size_t bytes) : plan_(plan), bytes_(bytes) {}

  void run() {
    std::vector<std::pair<int, Step>> inserted;  // after which step
    std::vector<bool> gone(plan_.steps.size(), false);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      if (!std::holds_alternative<AllReduce>(plan_.steps[i].spec)) continue;
      gone[i] = true;
      for (const std::vector<Part>& bucket : split(plan_.steps[i])) fill(plan_.steps[i], bucket, static_cast<int>(i), inserted);
    }
    std::stable_sort(inserted.begin(), inserted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Step> steps;
    auto next = inserted.begin();
    const auto insert_until = [&](int after) {
      for (; next != inserted.end() && next->first <= after; ++next) steps.push_back(std::move(next->second));
    };
    insert_until(-1);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      if (!gone[i]) steps.push_back(std::move(plan_.steps[i]));
      insert_until(static_cast<int>(i));
    }
    plan_.steps = std::move(steps);
  }

 private:
  Value& value(int v) { return plan_.values[index(v)]; }

  int maker(int v) const {
    v = plan_.root(v);
    int made = -1;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      for (int output : plan_.steps[i].outputs)
        if (plan_.root(output) == v) made = static_cast<int>(i);
    return made;
  }

  // The tensors of one type in the order in which they become ready, a bucket's bytes at a time.
  std::vector<std::vector<Part>> split(const Step& step) {
    std::map<DType, std::vector<Part>> by_type;
    for (std::size_t i = 0; i < step.inputs.size(); ++i)
      by_type[value(step.inputs[i]).desc.type].push_back({step.inputs[i], step.outputs[i], maker(step.inputs[i])});
    std::vector<std::vector<Part>> buckets;
    for (auto& [type, parts] : by_type) {
      std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.ready < b.ready; });
      std::size_t filled = bytes_;
      for (const Part& part : parts) {
        if (filled >= bytes_) buckets.emplace_back(), filled = 0;
        buckets.back().push_back(part);
        filled += value(part.value).desc.bytes();
      }
    }
    return buckets;
  }

  // May what makes the value write it to a place of our choice?
  bool own(int v) const {
    const Value& of = plan_.values[index(v)];
    if (of.view_of >= 0 || of.home != Value::Home::arena || of.kept) return false;
    const auto is_it = [v](int other) { return other == v; };
    const auto written = [v](const Write& write) { return write.value == v; };
    int made = 0;
    for (const Step& step : plan_.steps)
      made += static_cast<int>(std::count_if(step.outputs.begin(), step.outputs.end(), is_it));
    return made == 1 && std::none_of(plan_.writes.begin(), plan_.writes.end(), written);
  }

  // end: where the step was, before all that reads its results.
  void fill(const Step& step, const std::vector<Part>& parts, int end, std::vector<std::pair<int, Step>>& inserted) {
    const DType type = value(parts[0].value).desc.type;
    const std::int64_t unit = alignment / static_cast<std::int64_t>(size_of(type));
    const auto room = [&](const Part& part) { return (value(part.value).desc.elements() + unit - 1) / unit * unit; };
    std::int64_t elements = 0;
    for (const Part& part : parts) elements += room(part);
    Value whole;
    whole.desc = {type, {elements}, Layout::plain};
    whole.label = step.label;
    const int bucket = add(whole), reduced = add(whole);
    std::int64_t first = 0;
    int ready = -1;
    std::vector<int> views;
    for (const Part& part : parts) {
      int place = part.value;
      ready = std::max(ready, part.ready);
      if (!own(place) || std::count(views.begin(), views.end(), place) > 0) {
        Value copied = value(part.value);
        copied.home = Value::Home::arena;
        copied.home_name.clear();
        copied.kept = false;
        place = add(copied);
        value(place).view_of = bucket, value(place).first = first;
        inserted.emplace_back(part.ready, copy_step(plan_, part.value, place, value(part.value).label + " copy"));
      } else {
        value(place).view_of = bucket, value(place).first = first;
      }
      views.push_back(part.value);
      value(part.result).view_of = reduced, value(part.result).first = first;
      first += room(part);
    }
    const AllReduce& spec = std::get<AllReduce>(step.spec);
    if (spec.carried == type) {
      inserted.emplace_back(ready,
                            Step{AllReduce{spec.combine, {whole.desc}, type}, {bucket}, {reduced}, step.label, step.player});
      return;
    }
    Value packed = whole;
    packed.desc.type = spec.carried;
    const int sent = add(packed), received = add(packed);
    inserted.emplace_back(ready, cast(bucket, sent, step));
    inserted.emplace_back(
        ready, Step{AllReduce{spec.combine, {packed.desc}, spec.carried}, {sent}, {received}, step.label, step.player});
    inserted.emplace_back(end, cast(received, reduced, step));  // which waits for it: not among what goes on beside it
  }

  Step cast(int from, int to, const Step& of) {
    const TensorDesc &in = value(from).desc, &out = value(to).desc;
    return {kernels::Pointwise{in.shape, in.layout, {in}, {}, {out}, {0}}, {from}, {to}, of.label + " cast", of.player};
  }

  int add(const Value& made) {
    plan_.values.push_back(made);
    return static_cast<int>(plan_.values.size()) - 1;
  }

  Plan& plan_;
  std::size_t bytes_;
};

// The tensors of an update whose gradients come from one reduction, in the order of the reductions, of which these are the
// results.
std::vector<std::vector<std::size_t>> tensors_by_bucket(const Plan& plan, const std::vector<int>& reduced, const Step& step,
                                                        const OptimizerUpdate& update) {
  std::map<int, std::vector<std::size_t>> by_root;
  const std::size_t stride = index(2 + update.moments());
  for (std::size_t t = 0; t < update.parameters.size(); ++t) by_root[plan.root(step.inputs[2 + t * stride + 1])].push_back(t);
  std::vector<std::vector<std::size_t>> ordered;
  for (int result : reduced)
    if (const auto found = by_root.find(result); found != by_root.end()) ordered.push_back(found->second);
  std::size_t found = 0;
  for (const auto& tensors : ordered) found += tensors.size();
  if (found != update.parameters.size()) ordered.clear();  // some are not reduced, or are rounded on their way
  return ordered;
}

}  // namespace

void fill_buckets(Plan& plan, std::size_t bucket_bytes) { Buckets(plan, bucket_bytes).run(); }

void split_updates(Plan& plan) {
  std::vector<int> reduced;
  for (const Step& step : plan.steps)
    if (std::holds_alternative<AllReduce>(step.spec)) reduced.push_back(step.outputs[0]);
  std::vector<Step> steps;
  for (Step& step : plan.steps) {
    const auto* whole = std::get_if<OptimizerUpdate>(&step.spec);
    const auto buckets = whole ? tensors_by_bucket(plan, reduced, step, *whole) : std::vector<std::vector<std::size_t>>();
    if (buckets.size() < 2) {
      steps.push_back(std::move(step));
      continue;
    }
    const std::size_t inputs = index(2 + whole->moments()), outputs = index(1 + whole->moments());
    int made = step.inputs[1];  // updates made so far
    for (std::size_t b = 0; b < buckets.size(); ++b) {
      const bool last = b + 1 == buckets.size();
      OptimizerUpdate update = *whole;
      update.counts = last;
      update.parameters.clear();
      Step part{OptimizerUpdate(), {step.inputs[0], made}, {}, step.label, step.player};
      if (last) {
        part.outputs = {step.outputs[0], step.outputs[1]};
      } else {
        for (int like : {step.outputs[0], step.outputs[1]}) {
          Value scalar = plan.values[index(like)];
          scalar.kept = false;
          plan.values.push_back(std::move(scalar));
          part.outputs.push_back(static_cast<int>(plan.values.size()) - 1);
        }
        made = part.outputs[0];
      }
      for (std::size_t t : buckets[b]) {
        update.parameters.push_back(whole->parameters[t]);
        for (std::size_t k = 0; k < inputs; ++k) part.inputs.push_back(step.inputs[2 + t * inputs + k]);
        for (std::size_t k = 0; k < outputs; ++k) part.outputs.push_back(step.outputs[2 + t * outputs + k]);
      }
      part.spec = std::move(update);
      steps.push_back(std::move(part));
    }
  }
  plan.steps = std::move(steps);
}

}  // namespace gannet::plan
