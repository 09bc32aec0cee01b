#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace sim {

/// The variables in a block's shared memory, by offset, with gaps between them. The dynamic part is the last one, "(dynamic)";
/// its size is the launch's, and here 0.
struct SharedLayout {
  struct Variable {
    std::uint32_t begin, end;
    std::string name;
  };
  std::vector<Variable> variables;  // ascending
};

}  // namespace sim
