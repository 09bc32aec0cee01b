// Curves, lines and text, anti-aliased, on a picture.
#pragma once

#include <span>
#include <string_view>

#include "engine/data/image.h"

namespace gannet {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

struct Point {
  double x = 0, y = 0;  // pixels from the top left corner
};

struct Rectangle {
  double left = 0, top = 0, right = 0, bottom = 0;
};

class Canvas {
 public:
  static constexpr std::size_t pixel_bytes = 3 + sizeof(float);  // that a canvas takes: the picture and the ink

  Canvas(int width, int height) : image_(height, width, 3, 255) {}

  // Nothing is drawn outside of it.
  void set_clip(const Rectangle& clip) { clip_ = clip; }
  void reset_clip() { clip_ = {0, 0, static_cast<double>(image_.width), static_cast<double>(image_.height)}; }

  // Round at its ends. dashes: lengths of ink and of gap, in turn; empty: an unbroken line.
  void polyline(std::span<const Point> points, Colour colour, double thickness, std::span<const double> dashes = {});
  void line(Point from, Point to, Colour colour, double thickness) {
    const Point points[] = {from, to};
    polyline(points, colour, thickness);
  }
  // `at`: the left end of the baseline. height: of a capital.
  void text(Point at, std::string_view text, double height, Colour colour);
  static double text_width(std::string_view text, double height);
  // A picture of 3 channels; what lies outside is cut off.
  void paste(const Image& picture, int left, int top);

  const Image& image() const { return image_; }

 private:
  void cover(Point from, Point to, double thickness);  // a segment joins the ink
  void ink(Colour colour);                             // blends the ink that was gathered, and forgets it

  Image image_;
  Rectangle clip_{0, 0, static_cast<double>(image_.width), static_cast<double>(image_.height)};
  std::vector<float> coverage_;  // of each pixel by the ink
};

}  // namespace gannet
