// The known word nearest to a mistyped one, for messages.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gannet {

// Levenshtein's distance: single-character insertions, deletions and substitutions.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The first of the nearest; empty when `known` is.
std::string nearest(std::string_view word, std::span<const std::string> known);

}  // namespace gannet
