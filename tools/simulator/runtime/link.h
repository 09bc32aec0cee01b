#pragma once
#include <memory>
#include <vector>

#include "ptx/module.h"

namespace sim::runtime {

/// Joins modules that were compiled apart (nvcc -rdc=true): declarations meet their definitions; of several equal definitions
/// (templates, inline functions) the first counts; names that are a module's own (string literals) are made unique.
std::shared_ptr<const ptx::Module> link(std::vector<ptx::Module> modules);

}  // namespace sim::runtime
