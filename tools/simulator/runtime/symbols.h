#pragma once
#include <driver_types.h>

#include "machine/memory.h"

namespace sim::runtime {

struct SymbolPlace {
  Address address = 0;
  std::size_t bytes = 0;
};

/// A variable of device code by its host symbol: cudaErrorInvalidSymbol when it is none.
cudaError_t find_symbol(const void* symbol, int device, SymbolPlace& place);

}  // namespace sim::runtime
