// The families that the libraries have. Each gives null where they have no kernel for the spec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/backend.h"
#include "kernels/vendor/libraries.h"

namespace gannet::kernels::vendor {

// Workspaces of backends are 64-byte aligned, those of the libraries 256: with room to move, and moved.
inline constexpr std::size_t workspace_alignment = 256;
inline std::size_t with_alignment(std::size_t bytes) { return bytes == 0 ? 0 : bytes + workspace_alignment - 64; }
inline void* aligned_workspace(void* workspace) {
  const auto address = reinterpret_cast<std::uintptr_t>(workspace);
  return reinterpret_cast<void*>((address + workspace_alignment - 1) / workspace_alignment * workspace_alignment);
}

std::unique_ptr<Kernel> make_convolution(const Convolution& spec, const Libraries& libraries);
std::unique_ptr<Kernel> make_matmul(const Matmul& spec, const Libraries& libraries);

}  // namespace gannet::kernels::vendor
