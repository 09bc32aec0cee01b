// CRC-32C (Castagnoli, RFC 3720): of TensorBoard's records and of checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gannet {

// The checksum of bytes that follow others whose checksum is `crc`; 0 to begin.
std::uint32_t crc32c(const void* bytes, std::size_t count, std::uint32_t crc = 0);

}  // namespace gannet
