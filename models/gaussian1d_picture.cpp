#include "models/gaussian1d_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "engine/data/file.h"
#include "engine/run/program.h"
#include "engine/train/plot.h"

namespace gannet::models {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t grid_points = 701, latent_points = 8192, shown_latents = 25, chunk = 1024;
constexpr int frame_width = 640, frame_height = 480, caption_height = 34;

constexpr Colour black{0, 0, 0}, grey{130, 130, 130}, pale{200, 200, 200}, green{20, 140, 50}, blue{30, 80, 200},
    red{215, 100, 60};
constexpr double dotted[] = {1, 6}, dashed[] = {10, 6};

std::vector<double> even(double low, double high, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = low + (high - low) * static_cast<double>(i) / static_cast<double>(count - 1);
  return values;
}

// The density of the image of a uniform z: between neighbouring z the generator is taken as straight, so that each gap between
// their images holds an equal part of the mass. Averages over the cells around the points of `x`.
std::vector<double> image_density(std::span<const double> image, std::span<const double> x) {
  const double cell = x[1] - x[0], low = x.front() - cell / 2, part = 1 / (static_cast<double>(image.size() - 1) * cell);
  std::vector<double> density(x.size());
  for (std::size_t i = 1; i < image.size(); ++i) {
    const double a = (std::min(image[i - 1], image[i]) - low) / cell, b = (std::max(image[i - 1], image[i]) - low) / cell;
    const double first = std::max(std::floor(a), 0.0), last = std::min(std::floor(b), static_cast<double>(x.size() - 1));
    for (double c = first; c <= last; ++c) {
      const double share = b > a ? (std::min(b, c + 1) - std::max(a, c)) / (b - a) : 1;
      density[static_cast<std::size_t>(c)] += part * share;
    }
  }
  return density;
}

double kolmogorov_smirnov(std::vector<double> samples, const Gaussian& data) {
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  double largest = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double cumulative = data.cumulative(samples[i]), below = static_cast<double>(i) / count;
    largest = std::max({largest, std::abs(cumulative - below), std::abs(cumulative - below - 1 / count)});
  }
  return largest;
}

std::string frame_name(std::int64_t step) { return fmt::format("step_{:08}.png", step); }

// Where data lies in a frame: curves over the line of x, which is over the line of z.
struct Frame {
  static constexpr double left = 52, right = frame_width - 52, top = 52, bottom = 320, z_line = 420;
  double low, high;  // of x
  double highest;    // density at the top

  double x(double value) const { return left + (right - left) * (value - low) / (high - low); }
  double z(double value) const { return left + (right - left) * (0.25 + 0.25 * (value + 1)); }
  double density(double value) const { return bottom - (bottom - top) * value / highest; }
  double probability(double value) const { return bottom - (bottom - top) * value; }
};

void curve(Canvas& canvas, const Frame& frame, std::span<const double> x, std::span<const double> y,
           double (Frame::*height)(double) const, Colour colour, double thickness, std::span<const double> dashes = {}) {
  std::vector<Point> points;
  // What is far above the frame is cut off just above it, where the clip hides it.
  for (std::size_t i = 0; i < x.size(); ++i)
    points.push_back({frame.x(x[i]), std::max((frame.*height)(y[i]), Frame::top - 20)});
  canvas.polyline(points, colour, thickness, dashes);
}

void centred(Canvas& canvas, double x, double y, const std::string& text, double height, Colour colour) {
  canvas.text({x - Canvas::text_width(text, height) / 2, y}, text, height, colour);
}

void draw_axes(Canvas& canvas, const Frame& frame) {
  canvas.line({Frame::left, Frame::bottom}, {Frame::right, Frame::bottom}, black, 1.2);
  canvas.line({Frame::left, Frame::top}, {Frame::left, Frame::bottom}, black, 1);
  canvas.line({Frame::right, Frame::top}, {Frame::right, Frame::bottom}, blue, 1);
  canvas.line({frame.z(-1), Frame::z_line}, {frame.z(1), Frame::z_line}, black, 1.2);
  for (double x = std::ceil(frame.low); x <= frame.high; ++x) {
    canvas.line({frame.x(x), Frame::bottom}, {frame.x(x), Frame::bottom + 4}, black, 1);
    centred(canvas, frame.x(x), Frame::bottom + 17, fmt::format("{:.0f}", x), 8, black);
  }
  for (const double z : {-1.0, 0.0, 1.0}) {
    canvas.line({frame.z(z), Frame::z_line}, {frame.z(z), Frame::z_line + 4}, black, 1);
    centred(canvas, frame.z(z), Frame::z_line + 17, fmt::format("{:.0f}", z), 8, black);
  }
  for (const double share : {0.0, 0.5, 1.0}) {
    const std::string density = fmt::format("{:.2f}", share * frame.highest);
    const double y = frame.probability(share);
    canvas.line({Frame::left - 4, y}, {Frame::left, y}, black, 1);
    canvas.text({Frame::left - 8 - Canvas::text_width(density, 8), y + 4}, density, 8, black);
    canvas.line({Frame::right, y}, {Frame::right + 4, y}, blue, 1);
    canvas.text({Frame::right + 8, y + 4}, fmt::format("{:.1f}", share), 8, blue);
  }
  canvas.text({6, Frame::top - 10}, "density", 9, black);
  canvas.text({frame_width - 6 - Canvas::text_width("D", 9), Frame::top - 10}, "D", 9, blue);
  canvas.text({Frame::right + 12, Frame::bottom + 17}, "x", 10, black);
  canvas.text({frame.z(1) + 16, Frame::z_line + 17}, "z", 10, black);
}

void draw_legend(Canvas& canvas) {
  struct Entry {
    const char* name;
    Colour colour;
    double thickness;
    std::span<const double> dashes;
  };
  const Entry entries[] = {
      {"p_data", black, 2.4, dotted}, {"p_g", green, 2.2, {}}, {"D(x)", blue, 2, dashed}, {"D*(x)", red, 1.2, {}}};
  double x = Frame::left;
  for (const Entry& entry : entries) {
    const Point points[] = {{x, frame_height - 16.0}, {x + 36, frame_height - 16.0}};
    canvas.polyline(points, entry.colour, entry.thickness, entry.dashes);
    canvas.text({x + 44, frame_height - 12.0}, entry.name, 9, entry.colour);
    x += 140;
  }
}

Image draw_frame(const LineMeasurement& m, const Gaussian& data, std::int64_t step) {
  const Frame frame{m.x.front(), m.x.back(), 1.6 * data.density(data.mean)};
  Canvas canvas(frame_width, frame_height);
  draw_axes(canvas, frame);
  canvas.set_clip({Frame::left, Frame::bottom, Frame::right, Frame::z_line + 1});
  for (std::size_t i = 0; i < m.z.size(); ++i) {
    const Point from{frame.z(m.z[i]), Frame::z_line}, to{frame.x(m.image[i]), Frame::bottom + 1};
    const double length = std::hypot(to.x - from.x, to.y - from.y), ux = (to.x - from.x) / length,
                 uy = (to.y - from.y) / length;
    canvas.line(from, to, grey, 0.8);
    for (const double side : {-1.0, 1.0})
      canvas.line(to, {to.x - 7 * ux + side * 3 * uy, to.y - 7 * uy - side * 3 * ux}, grey, 0.8);
  }
  canvas.set_clip({Frame::left, Frame::top, Frame::right, Frame::bottom + 2});
  canvas.line({Frame::left, frame.probability(0.5)}, {Frame::right, frame.probability(0.5)}, pale, 0.8);
  curve(canvas, frame, m.x, m.p_g, &Frame::density, green, 2.2);
  curve(canvas, frame, m.x, m.p_data, &Frame::density, black, 2.4, dotted);
  curve(canvas, frame, m.x, m.d_star, &Frame::probability, red, 1.2);
  curve(canvas, frame, m.x, m.d, &Frame::probability, blue, 2, dashed);
  canvas.reset_clip();
  draw_legend(canvas);
  centred(canvas, frame_width / 2.0, 22,
          fmt::format("step {}   KS {:.3f}   |D-D*| {:.3f}   |D-1/2| {:.3f}", step, m.figures.ks, m.figures.d_from_optimum,
                      m.figures.d_from_half),
          9, black);
  return canvas.image();
}

// Four frames that were drawn, side by side under their captions. Skipped while there are too few.
void draw_strip(const fs::path& folder, const json& stages, std::int64_t head_start) {
  const auto step_of = [](const json& stage) { return stage.at("step").get<std::int64_t>(); };
  // (b) is the last frame of the head start, (c) the one after it that has come half of the way.
  const auto from_half = [&](std::size_t i) {
    return std::abs(stages[i].at("ks").get<double>() - stages[0].at("ks").get<double>() / 2);
  };
  std::size_t b = 0, c = 0;
  for (std::size_t i = 1; i + 1 < stages.size(); ++i) {
    if (step_of(stages[i]) <= head_start || b == 0)
      b = i;
    else if (c == 0 || from_half(i) < from_half(c))
      c = i;
  }
  if (c == 0) return;
  const std::array<std::pair<const char*, std::size_t>, 4> panels{
      {{"(a) at the start", 0},
       {"(b) D trained alone", b},
       {"(c) p_g follows", c},
       {"(d) converged: p_g = p_data, D = 1/2", stages.size() - 1}}};
  Canvas strip(4 * frame_width, frame_height + caption_height);
  int left = 0;
  for (const auto& [caption, stage] : panels) {
    strip.paste(decode_image(MappedFile(folder / frame_name(step_of(stages[stage]))).bytes()), left, caption_height);
    strip.text({left + 20.0, 24}, caption, 12, black);
    left += frame_width;
  }
  atomic_write(folder / "strip.png", encode_png(strip.image()));
}

// The stages that are on record and come before `step`: a run that goes on draws later ones again.
json earlier_stages(const fs::path& file, std::int64_t step) {
  json kept = json::array();
  if (!fs::exists(file)) return kept;
  for (const json& stage : read_json(file))
    if (stage.at("step").get<std::int64_t>() < step) kept.push_back(stage);
  return kept;
}

// A function of one number, traced by `trace` and planned on the state's backend for `chunk` points at a time.
struct PlannedFunction {
  std::shared_ptr<Program> program;

  PlannedFunction(State& state, const LineTrace& trace) {
    Graph graph;
    graph.output("y", trace(graph, graph.input("x", {DType::f32, {chunk, 1}})));
    program = std::make_shared<Program>(graph, state);
  }

  std::vector<double> operator()(std::span<const double> points) const {
    std::vector<double> values;
    std::vector<float> part(chunk);
    for (std::size_t first = 0; first < points.size(); first += part.size()) {
      const std::span<const double> here = points.subspan(first, std::min(part.size(), points.size() - first));
      std::copy(here.begin(), here.end(), part.begin());
      program->write("x", part.data(), part.size() * sizeof(float));
      program->run();
      program->read("y", part);
      values.insert(values.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(here.size()));
    }
    return values;
  }
};

}  // namespace

double Gaussian::density(double x) const {
  const double t = (x - mean) / deviation;
  return std::exp(-t * t / 2) / (deviation * std::sqrt(2 * std::numbers::pi));
}

double Gaussian::cumulative(double x) const { return std::erfc((mean - x) / (deviation * std::numbers::sqrt2)) / 2; }

LineMeasurement measure_line(const Gaussian& data, const LineFunction& generator, const LineFunction& discriminator) {
  LineMeasurement m;
  m.x = even(std::min(data.mean - 4 * data.deviation, -2.0), std::max(data.mean + 4 * data.deviation, 2.0), grid_points);
  m.d = discriminator(m.x);
  const std::vector<double> image = generator(even(-1, 1, latent_points));
  m.p_g = image_density(image, m.x);
  m.z = even(-1, 1, shown_latents);
  m.image = generator(m.z);

  double mass = 0, inside = 0;
  for (std::size_t i = 0; i < m.x.size(); ++i) {
    m.p_data.push_back(data.density(m.x[i]));
    const double both = m.p_data[i] + m.p_g[i];
    m.d_star.push_back(both > 0 ? m.p_data[i] / both : 0.5);
    m.figures.d_from_optimum += both * std::abs(m.d[i] - m.d_star[i]);
    mass += both;
    if (std::abs(m.x[i] - data.mean) > 2 * data.deviation) continue;
    m.figures.d_from_half += std::abs(m.d[i] - 0.5);
    ++inside;
  }
  m.figures.d_from_optimum /= mass;
  m.figures.d_from_half /= inside;
  m.figures.ks = kolmogorov_smirnov(image, data);
  return m;
}

Drawing line_drawing(const Gaussian& data, std::int64_t head_start, const LineTrace& generator, const LineTrace& discriminator,
                     State& state) {
  const PlannedFunction g(state, generator);
  const PlannedFunction d(state, [&](Graph& graph, Value x) { return ops::sigmoid(discriminator(graph, x)); });
  Drawing drawing;
  drawing.programs = {g.program, d.program};
  drawing.staging_bytes = 4 * frame_width * (frame_height + caption_height) * Canvas::pixel_bytes +  // the strip
                          frame_width * frame_height * 3;                                            // and a frame of it
  drawing.draw = [=](std::int64_t step, const fs::path& file) {
    const fs::path folder = file.parent_path();
    const LineMeasurement m = measure_line(data, g, d);
    Drawing::Result frame;
    frame.picture = draw_frame(m, data, step);
    frame.png = encode_png(frame.picture);
    frame.figures = {
        {"ks", m.figures.ks}, {"d_from_optimum", m.figures.d_from_optimum}, {"d_from_half", m.figures.d_from_half}};
    atomic_write(file, frame.png);
    json stages = earlier_stages(folder / "stages.json", step), stage{{"step", step}};
    for (const auto& [name, value] : frame.figures) stage[name] = value;
    stages.push_back(stage);
    atomic_write(folder / "stages.json", stages.dump(1) + "\n");
    draw_strip(folder, stages, head_start);
    return frame;
  };
  return drawing;
}

}  // namespace gannet::models
