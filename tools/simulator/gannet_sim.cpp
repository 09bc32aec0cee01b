// gannet-sim: runs a CUDA program on the CPU. Sets the library path so that the program finds the simulated CUDA libraries, and
// becomes the program.
#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "error.h"
#include "machine/options.h"

namespace {

namespace fs = std::filesystem;
using sim::Error;

constexpr int kBadUsage = 2;
constexpr const char* kRuntime = "libcudart.so.13";

/// The libraries lie beside the command, as built and as installed.
fs::path libraries() {
  const fs::path own = fs::read_symlink("/proc/self/exe").parent_path();
  for (const char* library_folder : {"lib", "lib64", "lib/x86_64-linux-gnu"}) {
    const fs::path folder = own.parent_path() / library_folder / "gannet-sim";
    if (fs::exists(folder / kRuntime)) return folder;
  }
  throw Error("{} is not beside the command (in {})", kRuntime, (own.parent_path() / "lib/gannet-sim").string());
}

/// As execvp finds it.
fs::path find_program(const std::string& name) {
  std::vector<fs::path> places;
  if (name.find('/') != std::string::npos) {
    places.emplace_back(name);
  } else {
    const char* path = std::getenv("PATH");
    std::string rest = path != nullptr ? path : "/usr/bin:/bin";
    while (!rest.empty()) {
      const std::string folder = rest.substr(0, rest.find(':'));
      rest.erase(0, folder.size() + 1);
      places.push_back(fs::path(folder.empty() ? "." : folder) / name);
    }
  }
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (!fs::exists(place, ignored)) continue;
    if (fs::is_directory(place, ignored)) throw Error("{} is a folder", place.string());
    if (access(place.c_str(), X_OK) != 0) throw Error("{} is not executable", place.string());
    return place;
  }
  if (name.find('/') == std::string::npos && access(name.c_str(), F_OK) == 0)
    throw Error("there is no program {} in PATH; the one in this folder is ./{}", name, name);
  throw Error("there is no program {}", name);
}

/// Told before the program runs rather than after.
void check_profile(const fs::path& file) {
  std::error_code ignored;
  const bool can_be = fs::exists(file, ignored) ? !fs::is_directory(file, ignored) && access(file.c_str(), W_OK) == 0
                                                : access(file.parent_path().c_str(), W_OK | X_OK) == 0;
  if (!can_be) throw Error("the profile {} can not be written", file.string());
}

/// What the dynamic linker is told by an executable.
struct Linkage {
  bool has_device_code = false;  // a section with fat binaries, or a CUDA runtime linked in
  std::vector<std::string> needed;
  std::string rpath;  // before LD_LIBRARY_PATH; a RUNPATH comes after it and does not matter
};

template <class T>
T read(const std::string& file, std::uint64_t at) {
  if (at > file.size() || file.size() - at < sizeof(T)) throw Error("it is cut short");
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

std::string text_at(const std::string& file, std::uint64_t at) {
  if (at >= file.size()) throw Error("it is cut short");
  return file.substr(at, file.find('\0', at) - at);
}

Linkage linkage_of(const std::string& file) {
  Linkage linkage;
  const auto header = read<Elf64_Ehdr>(file, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) throw Error("it is not for x86-64");

  std::vector<Elf64_Phdr> segments;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i)
    segments.push_back(read<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr)));
  const auto offset_of = [&](std::uint64_t address) -> std::uint64_t {
    for (const Elf64_Phdr& s : segments)
      if (s.p_type == PT_LOAD && address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz)
        return address - s.p_vaddr + s.p_offset;
    throw Error("its dynamic section points nowhere");
  };
  for (const Elf64_Phdr& s : segments) {
    if (s.p_type != PT_DYNAMIC) continue;
    std::vector<Elf64_Dyn> entries;
    std::uint64_t strings = 0;
    for (std::uint64_t at = s.p_offset;; at += sizeof(Elf64_Dyn)) {
      entries.push_back(read<Elf64_Dyn>(file, at));
      if (entries.back().d_tag == DT_STRTAB) strings = offset_of(entries.back().d_un.d_ptr);
      if (entries.back().d_tag == DT_NULL) break;
    }
    for (const Elf64_Dyn& e : entries) {
      if (e.d_tag == DT_NEEDED) linkage.needed.push_back(text_at(file, strings + e.d_un.d_val));
      if (e.d_tag == DT_RPATH) linkage.rpath = text_at(file, strings + e.d_un.d_val);
    }
    for (const Elf64_Dyn& e : entries)
      if (e.d_tag == DT_RUNPATH) linkage.rpath.clear();  // then the RPATH does not count
  }

  if (header.e_shoff != 0 && header.e_shstrndx < header.e_shnum) {
    const auto names = read<Elf64_Shdr>(file, header.e_shoff + header.e_shstrndx * sizeof(Elf64_Shdr));
    for (std::uint64_t i = 0; i < header.e_shnum; ++i)
      if (text_at(file, names.sh_offset + read<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr)).sh_name) ==
          ".nv_fatbin")
        linkage.has_device_code = true;
  }
  // Text of the runtime itself, which a program that only uses it does not hold.
  if (file.find("cudaErrorStreamCaptureImplicit") != std::string::npos) linkage.has_device_code = true;
  return linkage;
}

/// A folder of an RPATH that has a runtime of its own would win over LD_LIBRARY_PATH.
void check_rpath(const fs::path& program, std::string rpath) {
  const std::string origin = fs::absolute(program).parent_path().string();
  while (!rpath.empty()) {
    std::string folder = rpath.substr(0, rpath.find(':'));
    rpath.erase(0, folder.size() + 1);
    for (const char* name : {"${ORIGIN}", "$ORIGIN"})
      if (const auto at = folder.find(name); at != std::string::npos) folder.replace(at, std::strlen(name), origin);
    std::error_code ignored;
    if (!folder.empty() && fs::exists(fs::path(folder) / kRuntime, ignored))
      throw Error("{} would load {} from its RPATH {}: link it with -Wl,--enable-new-dtags, or without that path",
                  program.string(), kRuntime, folder);
  }
}

void check_program(const fs::path& program) {
  std::ifstream stream(program, std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(stream), {}};
  if (file.substr(0, 2) == "#!") return;  // what the script starts inherits the environment
  if (file.substr(0, 4) != ELFMAG) throw Error("{} is not an ELF executable", program.string());
  Linkage linkage;
  try {
    linkage = linkage_of(file);
  } catch (const Error& e) {
    throw Error("{} can not be run: {}", program.string(), e.what());
  }
  check_rpath(program, linkage.rpath);
  if (std::find(linkage.needed.begin(), linkage.needed.end(), kRuntime) != linkage.needed.end()) return;
  for (const std::string& library : linkage.needed)
    if (library.starts_with("libcudart.so"))
      throw Error("{} is linked with {}, the simulator has {}: build it with CUDA 13", program.string(), library, kRuntime);
  if (linkage.has_device_code) throw Error("{} has the CUDA runtime linked in: build it with -cudart shared", program.string());
  // It may load a library that uses CUDA, or start a program that does.
  fmt::print(stderr, "gannet-sim: note: {} is not linked with {}; a CUDA program has to be built with -cudart shared\n",
             program.string(), kRuntime);
}

void set(const std::string& name, const std::string& value) {
  if (setenv(name.c_str(), value.c_str(), 1) != 0) throw Error("the environment has no room for {}", name);
}

void prepend(const std::string& name, const std::string& value, char separator) {
  const char* old = std::getenv(name.c_str());
  set(name, old != nullptr && *old != '\0' ? value + separator + old : value);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "gannet-sim [OPTIONS] PROGRAM [ARGUMENTS...]: runs a CUDA program on the CPU, checks it and counts what it does.\n"
      "The program has to be built with -cudart shared and with PTX, as nvcc -gencode arch=compute_80,code=[compute_80,sm_80] "
      "makes it.\n"
      "Exit code: the program's own; 3 when there were findings; 2 when it can not be run.");
  app.prefix_command();
  app.name("gannet-sim");
  app.failure_message(
      [](const CLI::App*, const CLI::Error& e) { return fmt::format("gannet-sim: {}; see gannet-sim --help\n", e.what()); });
  sim::Options options;
  for (const sim::Options::Description& d : sim::Options::descriptions()) {
    app.add_option_function<std::string>(
           "--" + std::string(d.name),
           [d, &options](const std::string& value) {
             try {
               options.set(d.name, value);
               if (d.name == "profile" && value.empty()) throw Error("no file is named");
             } catch (const Error& e) {
               throw CLI::ValidationError(e.what());
             }
             // The program may go elsewhere.
             const bool is_file = d.name == "profile" && value != "-" && !value.empty();
             set(std::string(d.environment), is_file ? fs::absolute(value).string() : value);
           },
           std::string(d.help))
        ->type_name("VALUE")
        ->default_str(std::string(d.value));
  }
  std::string isa;
  app.add_option("--isa", isa,
                 "instructions of the host's CPU that the simulator uses: v3 (AVX2) or v4 (AVX-512); the best by default")
      ->check(CLI::IsMember({"v3", "v4"}));
#ifdef GANNET_VERSION
  app.set_version_flag("--version", GANNET_VERSION);
#endif
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kBadUsage;
  }
  std::vector<std::string> command = app.remaining();
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  try {
    if (command.empty()) throw Error("no program is given; see gannet-sim --help");
    if (command.front().starts_with("-")) throw Error("there is no option {}; see gannet-sim --help", command.front());
    const fs::path program = find_program(command.front());
    check_program(program);
    if (!options.profile.empty() && options.profile != "-") check_profile(fs::absolute(options.profile));
    const fs::path folder = libraries();
    if (std::getenv("GANNET_SIM_CHECK") == nullptr) set("GANNET_SIM_CHECK", "memcheck");
    prepend("LD_LIBRARY_PATH", folder.string(), ':');
    if (!isa.empty())
      prepend("LD_PRELOAD", (isa == "v4" ? folder / "glibc-hwcaps/x86-64-v4" / kRuntime : folder / kRuntime).string(), ' ');
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    execv(program.c_str(), arguments.data());
    throw Error("{} can not be run: {}", program.string(), std::strerror(errno));
  } catch (const std::exception& e) {
    fmt::print(stderr, "gannet-sim: {}\n", e.what());
    return kBadUsage;
  }
}
