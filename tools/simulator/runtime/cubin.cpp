#include "runtime/cubin.h"

#include <elf.h>

#include <cstring>
#include <vector>

#include "error.h"

namespace sim::runtime {
namespace {

template <class T>
T read(std::string_view data, std::uint64_t at) {
  if (at > data.size() || data.size() - at < sizeof(T))
    throw Error("a cubin is cut short: {} bytes are wanted at {}, it has {}", sizeof(T), at, data.size());
  T value;
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

std::string_view section(std::string_view cubin, const Elf64_Shdr& header) {
  if (header.sh_offset > cubin.size() || cubin.size() - header.sh_offset < header.sh_size)
    throw Error("a section of a cubin lies outside of it");
  return cubin.substr(header.sh_offset, header.sh_size);
}

std::string name_at(std::string_view strings, std::uint32_t at) {
  if (at >= strings.size()) throw Error("a name of a cubin lies outside of its string table");
  const std::string_view rest = strings.substr(at);
  return std::string(rest.substr(0, rest.find('\0')));
}

// Entries of .nv.info: a format byte, an attribute byte and 16 bits, which for kSized give the size of what follows.
constexpr std::uint8_t kSized = 4, kRegisters = 0x2f, kFrameSize = 0x11;

}  // namespace

std::map<std::string, Resources> resources_of(std::string_view cubin) {
  if (cubin.size() < sizeof(Elf64_Ehdr) || cubin.substr(0, 4) != ELFMAG || cubin[EI_CLASS] != ELFCLASS64)
    throw Error("a cubin is not a 64-bit ELF file");
  const auto header = read<Elf64_Ehdr>(cubin, 0);
  std::vector<Elf64_Shdr> sections;
  for (std::uint64_t i = 0; i < header.e_shnum; ++i)
    sections.push_back(read<Elf64_Shdr>(cubin, header.e_shoff + i * sizeof(Elf64_Shdr)));
  if (header.e_shstrndx >= sections.size()) throw Error("a cubin has no section names");
  const std::string_view names = section(cubin, sections[header.e_shstrndx]);

  std::vector<std::string> symbols;
  for (const Elf64_Shdr& s : sections) {
    if (s.sh_type != SHT_SYMTAB || s.sh_link >= sections.size()) continue;
    const std::string_view table = section(cubin, s), strings = section(cubin, sections[s.sh_link]);
    for (std::uint64_t at = 0; at + sizeof(Elf64_Sym) <= table.size(); at += sizeof(Elf64_Sym))
      symbols.push_back(name_at(strings, read<Elf64_Sym>(table, at).st_name));
  }

  std::map<std::string, Resources> resources;
  for (const Elf64_Shdr& s : sections) {
    if (name_at(names, s.sh_name) != ".nv.info") continue;
    const std::string_view info = section(cubin, s);
    for (std::uint64_t at = 0; at + 4 <= info.size();) {
      const auto format = read<std::uint8_t>(info, at), attribute = read<std::uint8_t>(info, at + 1);
      const std::uint64_t size = format == kSized ? read<std::uint16_t>(info, at + 2) : 0;
      if (format == kSized && size >= 8 && (attribute == kRegisters || attribute == kFrameSize)) {
        const auto symbol = read<std::uint32_t>(info, at + 4), value = read<std::uint32_t>(info, at + 8);
        if (symbol < symbols.size()) {
          Resources& r = resources[symbols[symbol]];
          if (attribute == kRegisters)
            r.registers = static_cast<int>(value);
          else
            r.frame_bytes = value;
        }
      }
      at += 4 + size;
    }
  }
  return resources;
}

}  // namespace sim::runtime
