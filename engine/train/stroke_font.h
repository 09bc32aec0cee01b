// A plotter's font: printable ASCII as strokes on a grid, so that pictures with text need no font file.
#pragma once

#include <span>
#include <string_view>

namespace gannet {

// Strokes are separated by spaces; a stroke is pairs of digits "xy". x runs 0 to 4, and to the next letter 6; y runs from the
// descender 0 over the baseline 2 and the small letters' height 6 to the capitals' 8. A stroke of one place is a dot.
std::string_view strokes_of(char letter);  // a box for letters that the font lacks

inline constexpr int stroke_advance = 6, stroke_baseline = 2, stroke_capital = 8;

}  // namespace gannet
