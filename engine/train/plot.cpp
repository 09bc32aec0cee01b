#include "engine/train/plot.h"

#include <algorithm>
#include <cmath>

#include "engine/train/stroke_font.h"
#include "kernels/check.h"

namespace gannet {

namespace {

double distance_to_segment(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, squared = dx * dx + dy * dy;
  const double t = squared > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / squared, 0.0, 1.0) : 0.0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

Point between(Point a, Point b, double t) { return {a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)}; }

}  // namespace

// A pixel's coverage is the largest of the segments', so that the joints of a curve are no darker than the rest.
void Canvas::cover(Point from, Point to, double thickness) {
  coverage_.resize(static_cast<std::size_t>(image_.width) * static_cast<std::size_t>(image_.height));
  const double reach = thickness / 2 + 1;
  const int left = static_cast<int>(std::max(clip_.left, std::floor(std::min(from.x, to.x) - reach)));
  const int right = static_cast<int>(std::min(clip_.right, std::ceil(std::max(from.x, to.x) + reach)));
  const int top = static_cast<int>(std::max(clip_.top, std::floor(std::min(from.y, to.y) - reach)));
  const int bottom = static_cast<int>(std::min(clip_.bottom, std::ceil(std::max(from.y, to.y) + reach)));
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const double distance = distance_to_segment({x + 0.5, y + 0.5}, from, to);
      float& pixel =
          coverage_[static_cast<std::size_t>(y) * static_cast<std::size_t>(image_.width) + static_cast<std::size_t>(x)];
      pixel = std::max(pixel, static_cast<float>(std::clamp(thickness / 2 + 0.5 - distance, 0.0, 1.0)));
    }
  }
}

void Canvas::ink(Colour colour) {
  const std::uint8_t channels[] = {colour.red, colour.green, colour.blue};
  for (std::size_t i = 0; i < coverage_.size(); ++i) {
    const float covered = coverage_[i];
    if (covered == 0) continue;
    for (std::size_t c = 0; c < 3; ++c) {
      std::uint8_t& pixel = image_.pixels[3 * i + c];
      pixel = static_cast<std::uint8_t>(
          std::lround(covered * static_cast<float>(channels[c]) + (1 - covered) * static_cast<float>(pixel)));
    }
  }
  std::fill(coverage_.begin(), coverage_.end(), 0.0f);
}

void Canvas::polyline(std::span<const Point> points, Colour colour, double thickness, std::span<const double> dashes) {
  std::size_t dash = 0;
  double left = dashes.empty() ? 0 : dashes[0];  // of the present dash
  for (std::size_t i = 1; i < points.size(); ++i) {
    const Point a = points[i - 1], b = points[i];
    if (dashes.empty()) {
      cover(a, b, thickness);
      continue;
    }
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    for (double done = 0; done < length;) {
      const double part = std::min(left, length - done);
      if (dash % 2 == 0) cover(between(a, b, done / length), between(a, b, (done + part) / length), thickness);
      done += part;
      left -= part;
      if (left <= 0) left = dashes[++dash % dashes.size()];
    }
  }
  ink(colour);
}

void Canvas::text(Point at, std::string_view text, double height, Colour colour) {
  const double unit = height / (stroke_capital - stroke_baseline), thickness = std::max(1.0, height / 8);
  for (const char letter : text) {
    const std::string_view strokes = strokes_of(letter);
    Point last{};
    bool begun = false;
    for (std::size_t i = 0; i < strokes.size();) {
      if (strokes[i] == ' ') {
        begun = false;
        ++i;
        continue;
      }
      const Point next{at.x + unit * (strokes[i] - '0'), at.y - unit * (strokes[i + 1] - '0' - stroke_baseline)};
      if (begun) cover(last, next, thickness);
      last = next;
      begun = true;
      i += 2;
    }
    at.x += unit * stroke_advance;
  }
  ink(colour);
}

double Canvas::text_width(std::string_view text, double height) {
  return static_cast<double>(text.size()) * stroke_advance * height / (stroke_capital - stroke_baseline);
}

void Canvas::paste(const Image& picture, int left, int top) {
  GANNET_CHECK(picture.channels == 3, "only a picture of 3 channels can be pasted, not of {}", picture.channels);
  for (int y = std::max(0, -top); y < std::min(picture.height, image_.height - top); ++y) {
    for (int x = std::max(0, -left); x < std::min(picture.width, image_.width - left); ++x) {
      const auto from =
          3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x));
      const auto to =
          3 * (static_cast<std::size_t>(y + top) * static_cast<std::size_t>(image_.width) + static_cast<std::size_t>(x + left));
      std::copy_n(picture.pixels.begin() + static_cast<std::ptrdiff_t>(from), 3,
                  image_.pixels.begin() + static_cast<std::ptrdiff_t>(to));
    }
  }
}

}  // namespace gannet
