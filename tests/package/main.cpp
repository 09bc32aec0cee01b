// Traces y = x^2, its derivative, and a convolution, and runs them on the CPU backend of the installed package.
#include <array>
#include <cstdio>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/run/program.h"

int main() {
  using namespace gannet;
  Graph graph;
  const Value x = graph.input("x", {DType::f32, {3}});
  const Value y = ops::sum_all(ops::square(x));
  graph.output("y", y);
  graph.output("dx", grad(y, std::array{x})[0]);
  const Value picture = graph.input("picture", {DType::f32, {1, 4, 4, 16}});
  const Value filter = ops::constant(graph, 1, {16, 4, 4, 16});
  graph.output("convolved", ops::sum_all(ops::conv_fprop(picture, filter, 2, 1)));

  const auto backend = kernels::make_cpu_backend(1);
  State state(*backend, 0);
  Program program(graph, state);
  const std::array values{1.f, 2.f, 3.f};
  program.write("x", values.data(), sizeof values);
  const std::array<float, 256> ones = [] {
    std::array<float, 256> filled{};
    filled.fill(1);
    return filled;
  }();
  program.write("picture", ones.data(), sizeof ones);
  program.run();
  std::array<float, 3> derivative{};
  program.read("dx", derivative);
  // Of a 4x4 filter at stride 2 and pad 1, nine of sixteen taps meet a 4x4 picture: 4 outputs, 16 channels in and out.
  const float convolved = 4 * 9 * 16 * 16;
  const bool right = program.read_scalar("y") == 14 && derivative == std::array{2.f, 4.f, 6.f} &&
                     program.read_scalar("convolved") == convolved;
  std::printf("y = %g, dy/dx = (%g, %g, %g), convolved = %g (of %g)\n", program.read_scalar("y"), derivative[0], derivative[1],
              derivative[2], program.read_scalar("convolved"), convolved);
  return right ? 0 : 1;
}
