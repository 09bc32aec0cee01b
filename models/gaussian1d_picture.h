// Where a generator on a line stands: p_data, p_g, D and D* measured on a grid, drawn as frames and as a strip of four stages.
#pragma once

#include "engine/train/model.h"

namespace gannet::models {

struct Gaussian {
  double mean = 0, deviation = 1;
  double density(double x) const;
  double cumulative(double x) const;
};

// p_g is the generator's image of the uniform z on an even grid in [-1,1] (with averaged weights where there are), D the
// discriminator, D* = p_data / (p_data + p_g).
struct LineFigures {
  double ks = 0;              // Kolmogorov-Smirnov distance of p_g to p_data
  double d_from_optimum = 0;  // mean |D - D*| over (p_data + p_g) / 2
  double d_from_half = 0;     // mean |D - 1/2| over mean +- 2 deviations of p_data, which hold 95 % of it
};

struct LineMeasurement {
  std::vector<double> x, p_data, p_g, d, d_star;  // on an even grid over [low, high]
  std::vector<double> z, image;                   // a few z and G(z)
  LineFigures figures;
};

// z -> G(z) and x -> D(x), on as many points as they are given.
using LineFunction = std::function<std::vector<double>(std::span<const double>)>;
LineMeasurement measure_line(const Gaussian& data, const LineFunction& generator, const LineFunction& discriminator);

// Traces z -> G(z), or x -> the logit of D(x); (N,1) both.
using LineTrace = std::function<Value(Graph&, Value)>;

// What a family on a line draws: frames step_XXXXXXXX.png, stages.json (the figures of every frame so far), and strip.png:
// (a) the start, (b) D after its head start, (c) p_g about half way, (d) the last frame.
Drawing line_drawing(const Gaussian& data, std::int64_t head_start, const LineTrace& generator, const LineTrace& discriminator,
                     State& state);

}  // namespace gannet::models
