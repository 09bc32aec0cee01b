// Judges every operator of engine/graph/ops.h: its derivatives by differences in double, its programs on the CPU backend by
// the same graphs on the reference backend, its fused forms by their compositions.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/run/program.h"
#include "tests/judging.h"
#include "tests/operator_cases.h"

namespace gannet::tests {
namespace {

// The values of a graph's inputs, by name; a program is fed from them.
class Feed {
 public:
  explicit Feed(std::uint64_t seed) : draw_(seed) {}

  Value input(Graph& graph, const std::string& name, const TensorType& type, const Fill& fill) {
    const Value value = graph.input(name, type);
    if (!values_.contains(name)) values_[name] = filled(draw_, fill, type.type, type.shape.elements());
    fills_[name] = fill;
    return value;
  }
  void redraw(const std::string& name, DType type) {
    values_[name] = filled(draw_, fills_[name], type, static_cast<std::int64_t>(values_[name].size()));
  }
  void write(Program& program) const {
    for (const auto& [name, values] : values_) {
      if (!program.has_input(name)) continue;
      const DType type = program.input_type(name).type;
      if (type == DType::i32) {
        const std::vector<std::int32_t> whole(values.begin(), values.end());
        program.write(name, whole.data(), whole.size() * sizeof(std::int32_t));
      } else if (type == DType::u8) {
        const std::vector<std::uint8_t> whole(values.begin(), values.end());
        program.write(name, whole.data(), whole.size());
      } else {
        const std::vector<float> single(values.begin(), values.end());
        program.write(name, single.data(), single.size() * sizeof(float));
      }
    }
  }

 private:
  Draw draw_;
  std::map<std::string, std::vector<double>> values_;
  std::map<std::string, Fill> fills_;
};

// A case traced into a graph: its loss L(x) = sum(r f + q f^2) with random r and q, the gradient's M(x) = sum(u dL/dx).
class Traced {
 public:
  Traced(const OperatorCase& test, Feed& feed) : test_(test), feed_(feed) {
    for (std::size_t i = 0; i < test.operands.size(); ++i) {
      const Operand& operand = test.operands[i];
      x.push_back(feed.input(graph, fmt::format("x{}", i), {operand.type, operand.shape}, operand.fill));
      if (operand.differentiable) moving.push_back(i);
    }
  }

  Values results(std::span<const Value> at) { return test_.build(at, x); }

  Value loss(std::span<const Value> f) {
    Value total;
    for (std::size_t o = 0; o < f.size(); ++o) {
      const Value wide = ops::cast(f[o], DType::f32);
      const TensorType type{DType::f32, wide.shape()};
      if (r_.size() <= o) {
        r_.push_back(feed_.input(graph, fmt::format("r{}", o), type, normal()));
        q_.push_back(feed_.input(graph, fmt::format("q{}", o), type, normal(0, 0.5)));
      }
      const Value part = ops::sum_all(r_[o] * wide + q_[o] * ops::square(wide));
      total = total ? total + part : part;
    }
    return total;
  }

  // dL/dx of the moving operands, at `at`.
  Values gradient(std::span<const Value> at) {
    const Values wrt = moving_of(at);
    return grad(loss(results(at)), wrt);
  }

  Value weighted(std::span<const Value> gradients) {
    Value total;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (u_.size() <= i) {
        u_.push_back(feed_.input(graph, fmt::format("u{}", i), {DType::f32, gradients[i].shape()}, normal()));
      }
      const Value part = ops::sum_all(u_[i] * gradients[i]);
      total = total ? total + part : part;
    }
    return total;
  }

  Values moving_of(std::span<const Value> at) const {
    Values values;
    for (const std::size_t i : moving) values.push_back(at[i]);
    return values;
  }

  Graph graph;
  Values x;
  std::vector<std::size_t> moving;  // differentiable operands

 private:
  const OperatorCase& test_;
  Feed& feed_;
  Values r_, q_, u_;
};

// Compares a scalar's derivative along v with (8 (s(h) - s(-h)) - (s(2h) - s(-2h))) / 12h, all inside one graph, in double.
class Differences {
 public:
  Differences(Traced& traced, Feed& feed) : traced_(traced) {
    for (const std::size_t i : traced.moving) {
      v_.push_back(feed.input(traced.graph, fmt::format("v{}", i), {DType::f32, traced.x[i].shape()}, normal()));
    }
  }

  template <typename Scalar>
  void add(const std::string& name, Scalar scalar) {
    const auto at = [&](float steps) {
      Values x = traced_.x;
      for (std::size_t i = 0; i < v_.size(); ++i) x[traced_.moving[i]] = x[traced_.moving[i]] + v_[i] * (steps * step);
      return scalar(x);
    };
    const Value twelve = ops::constant(traced_.graph, 12 * step, {});
    const Value numeric = ((at(1) - at(-1)) * 8 - (at(2) - at(-2))) / twelve;
    const Value here = scalar(traced_.x);
    const Values gradients = grad(here, traced_.moving_of(traced_.x));
    Value analytic, scale = ops::abs(here) * 1e-3f;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const Value product = ops::cast(gradients[i], DType::f32) * v_[i], part = ops::sum_all(product);
      analytic = analytic ? analytic + part : part;
      scale = scale + ops::sum_all(ops::abs(product));
    }
    traced_.graph.output(name + " error", ops::abs(numeric - analytic));
    traced_.graph.output(name + " scale", scale);
  }

 private:
  static constexpr float step = 0x1p-13f;
  Traced& traced_;
  Values v_;
};

void check_derivatives(const OperatorCase& test, kernels::Backend& reference) {
  Feed feed(test.seed);
  Traced traced(test, feed);
  if (traced.moving.empty()) return;
  Differences differences(traced, feed);
  differences.add("first", [&](std::span<const Value> at) { return traced.loss(traced.results(at)); });
  differences.add("second", [&](std::span<const Value> at) { return traced.weighted(traced.gradient(at)); });
  State state(reference, 1);
  Program program(traced.graph, state, {.fuse = false, .layouts = false, .guard_bytes = 64});
  for (int direction = 0; direction < 2; ++direction) {
    for (const std::size_t i : traced.moving) feed.redraw(fmt::format("v{}", i), DType::f32);
    feed.write(program);
    program.run();
    for (const std::string name : {"first", "second"}) {
      const float error = program.read_scalar(name + " error"), scale = program.read_scalar(name + " scale");
      ASSERT_TRUE(error <= 1e-6f * scale) << name << " derivative of " << to_string(test) << ": off by " << error << " of "
                                          << scale;
      count_case(name + " derivatives");
    }
  }
  ASSERT_TRUE(program.guards_intact()) << to_string(test);
}

using Outputs = std::map<std::string, std::vector<float>>;

Outputs outputs_of(const Graph& graph, kernels::Backend& backend, const Feed& feed, const PlanOptions& options, bool& intact) {
  State state(backend, 1);
  Program program(graph, state, options);
  Outputs outputs;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second run finds the first one's leftovers in memory
    feed.write(program);
    program.run();
    for (const auto& [name, value] : graph.outputs()) {
      std::vector<float> values(static_cast<std::size_t>(value.shape().elements()));
      program.read(name, values);
      if (repeat == 0) {
        outputs[name] = values;
      } else if (std::memcmp(values.data(), outputs[name].data(), values.size() * sizeof(float)) != 0) {
        ADD_FAILURE() << name << " differs from run to run on " << backend.name();
      }
    }
  }
  intact = program.guards_intact();
  return outputs;
}

std::string difference(const Outputs& result, const Outputs& expected, double tolerance) {
  for (const auto& [name, wanted] : expected) {
    const std::vector<float>& values = result.at(name);
    double largest = 0.05;
    for (const float value : wanted) largest = std::max(largest, std::abs(static_cast<double>(value)));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double error = std::abs(static_cast<double>(values[i]) - wanted[i]);
      if (!(error <= tolerance * largest)) {
        return fmt::format("{}[{}] is {}, not {} (error {:.2g} of {:.3g})", name, i, values[i], wanted[i], error / largest,
                           largest);
      }
    }
  }
  return "";
}

// Results, first and second gradients as one program: fused and laid out on the CPU, against double.
void check_programs(const OperatorCase& test, kernels::Backend& cpu, kernels::Backend& reference) {
  Feed feed(test.seed);
  Traced traced(test, feed);
  const Values results = traced.results(traced.x);
  for (std::size_t o = 0; o < results.size(); ++o) traced.graph.output(fmt::format("result {}", o), results[o]);
  if (!traced.moving.empty()) {
    const Values first = grad(traced.loss(results), traced.moving_of(traced.x));
    for (std::size_t i = 0; i < first.size(); ++i) traced.graph.output(fmt::format("first gradient {}", i), first[i]);
    const Values second = grad(traced.weighted(first), traced.moving_of(traced.x));
    for (std::size_t i = 0; i < second.size(); ++i) traced.graph.output(fmt::format("second gradient {}", i), second[i]);
  }
  bool intact = true;
  const Outputs plain = outputs_of(traced.graph, reference, feed, {.fuse = false, .layouts = false, .guard_bytes = 64}, intact);
  ASSERT_TRUE(intact);
  const Outputs fused = outputs_of(traced.graph, reference, feed, {.fuse = true, .layouts = true, .guard_bytes = 64}, intact);
  ASSERT_TRUE(intact);
  ASSERT_EQ(difference(fused, plain, 1e-6), "") << "fused in double: " << to_string(test);
  for (const bool optimized : {true, false}) {
    const PlanOptions options{.fuse = optimized, .layouts = optimized, .guard_bytes = 256};
    const Outputs result = outputs_of(traced.graph, cpu, feed, options, intact);
    ASSERT_TRUE(intact) << "wrote beside a buffer: " << to_string(test);
    ASSERT_EQ(difference(result, plain, test.tolerance), "") << (optimized ? "fused: " : "plain: ") << to_string(test);
  }
  count_case("programs");
}

TEST(Operators, DerivativesEqualDifferences) {
  const auto reference = kernels::make_reference_backend();
  Selection selection;
  for (const OperatorCase& test : operator_cases()) {
    if (!selection.takes(test.name)) continue;
    SCOPED_TRACE(to_string(test));
    check_derivatives(test, *reference);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// The programs of every case on the CPU backend against the reference one.
void check_all_programs(const std::vector<OperatorCase>& cases) {
  const auto reference = kernels::make_reference_backend();
  const auto cpu = kernels::make_cpu_backend(2);
  Selection selection;
  for (const OperatorCase& test : cases) {
    if (!selection.takes(test.name)) continue;
    SCOPED_TRACE(to_string(test));
    check_programs(test, *cpu, *reference);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Operators, ProgramsEqualReference) { check_all_programs(operator_cases()); }

TEST(Operators, RandomGraphsEqualReference) {
  std::vector<OperatorCase> cases;
  for (int i = 0; i < 80; ++i) cases.push_back(random_graph_case(static_cast<std::uint64_t>(1000 + i), 2 + i % 12));
  check_all_programs(cases);
}

// Every fused operator that the cases trace, the backward ones among them, against its composition.
TEST(Operators, FusedEqualTheirCompositions) {
  const auto reference = kernels::make_reference_backend();
  std::set<std::string> fused;
  Selection selection;
  for (const OperatorCase& test : operator_cases()) {
    if (!selection.takes(test.name)) continue;
    SCOPED_TRACE(to_string(test));
    Feed feed(test.seed);
    Traced traced(test, feed);
    if (!traced.moving.empty())
      traced.gradient(traced.x);
    else
      traced.results(traced.x);
    const std::size_t count = traced.graph.nodes().size();
    int compared = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Node& node = traced.graph.nodes()[i];
      Values parts;
      try {
        parts = node.op->decompose(node.inputs);
      } catch (const InputError&) {
        continue;  // a basic operator
      }
      fused.insert(node.op->name());
      for (std::size_t o = 0; o < parts.size(); ++o) {
        traced.graph.output(fmt::format("{} {} {} fused", node.op->name(), i, o),
                            traced.graph.nodes()[i].value(static_cast<int>(o)));
        traced.graph.output(fmt::format("{} {} {} parts", node.op->name(), i, o), parts[o]);
        ++compared;
      }
    }
    if (compared == 0) continue;
    bool intact = true;
    const Outputs outputs = outputs_of(traced.graph, *reference, feed, {.fuse = false, .layouts = false}, intact);
    for (const auto& [name, values] : outputs) {
      if (!name.ends_with(" fused")) continue;
      const std::string key = name.substr(0, name.size() - 6);
      ASSERT_EQ(difference({{key, outputs.at(key + " parts")}}, {{key, values}}, 1e-6), "");
      count_case("fused results");
    }
  }
  EXPECT_TRUE(fused.contains("batch_norm") && fused.contains("batch_norm_backward") && fused.contains("sigmoid_bce"));
}

std::string text_of(const std::string& path) {
  std::ifstream file(std::string(GANNET_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Each function of ops.h has a case; each operator class that engine/graph defines was traced by one.
TEST(Operators, NoneIsMissing) {
  std::set<std::string> functions, names;
  for (const OperatorCase& test : operator_cases()) {
    functions.insert(test.function);
    Feed feed(test.seed);
    Traced traced(test, feed);
    if (!traced.moving.empty())
      traced.gradient(traced.x);
    else
      traced.results(traced.x);
    for (const Node& node : traced.graph.nodes()) names.insert(node.op->name());
  }
  const std::string header = text_of("engine/graph/ops.h");
  const std::regex function(R"(\n(?:Value|\w+Result|std::vector<Value>) (\w+)\()");
  int declared = 0;
  for (std::sregex_iterator match(header.begin(), header.end(), function), end; match != end; ++match) {
    const std::string name = (*match)[1];
    if (name == "operator" || name == "all_reduce") continue;  // which wants ranks: reductions_test.cpp
    ++declared;
    EXPECT_TRUE(functions.contains(name)) << "no case calls ops::" << name;
  }
  EXPECT_GE(declared, 40);

  const std::regex definition(R"(std::string name\(\) const override \{([^}]*)\})"), literal(R"xx("([a-z_]+)")xx");
  int defined = 0;
  for (const char* file : {"batch_norm.cpp", "convolution.cpp", "matmul.cpp", "pointwise.cpp", "random.cpp", "reduction.cpp",
                           "shape.cpp", "sigmoid_bce.cpp", "update.cpp", "view.h"}) {
    const std::string source = text_of(std::string("engine/graph/") + file);
    for (std::sregex_iterator match(source.begin(), source.end(), definition), end; match != end; ++match) {
      const std::string body = (*match)[1];
      for (std::sregex_iterator name(body.begin(), body.end(), literal); name != end; ++name) {
        ++defined;
        EXPECT_TRUE(names.contains((*name)[1])) << "no case traces " << (*name)[1];
      }
    }
  }
  EXPECT_GE(defined, 20);
  for (int op = 0; op <= static_cast<int>(kernels::PointwiseOp::leaky_step); ++op) {
    const std::string name = kernels::name_of(static_cast<kernels::PointwiseOp>(op));
    EXPECT_TRUE(names.contains(name)) << "no case traces " << name;
  }
}

}  // namespace
}  // namespace gannet::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new gannet::tests::CaseCount);
  return gannet::tests::run_with_cpu_backend();
}
