// Every heap allocation of the process, by any library and thread, counted by who asked for it.
#pragma once

namespace gannet::testing {

// False where a sanitizer has put its own allocator in place: then nothing is counted.
bool counts_allocations();

struct Allocations {
  long own = 0;      // of the program and all libraries but oneDNN
  long library = 0;  // of oneDNN, whose every execution of a primitive builds a table of its arguments
};
Allocations allocations();

}  // namespace gannet::testing
