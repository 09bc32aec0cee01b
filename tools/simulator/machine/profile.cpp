#include "machine/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "error.h"
#include "isa/access.h"
#include "isa/code.h"
#include "machine/occupancy.h"
#include "machine/options.h"

namespace sim {
namespace {

using json = nlohmann::ordered_json;

// What an instruction is, for the counts by class; the names are Nsight Compute's where it counts the same thing.
enum class Class : std::uint8_t {
  integer,
  fp32,
  fp64,
  fp16,
  conversion,
  logic,
  move,
  tensor,
  load_global,
  store_global,
  load_shared,
  store_shared,
  load_local,
  store_local,
  load_constant,
  load_generic,
  store_generic,
  global_atom,
  global_red,
  shared_atom,
  copy_async,
  barrier,
  control,
  warp,
  other,
  count
};

constexpr const char* kClassNames[] = {"integer",      "fp32",          "fp64",        "fp16",        "conversion",
                                       "logic",        "move",          "tensor",      "load_global", "store_global",
                                       "load_shared",  "store_shared",  "load_local",  "store_local", "load_constant",
                                       "load_generic", "store_generic", "global_atom", "global_red",  "shared_atom",
                                       "copy_async",   "barrier",       "control",     "warp",        "other"};

bool any_of(const ptx::Instruction& in, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return in.has(name); });
}

bool is(std::string_view opcode, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), opcode) != names.end();
}

Class class_of(const ptx::Instruction& in) {
  const std::string_view op = in.opcode;
  if (is(op, {"mma", "wmma"})) return in.has("load") || in.has("store") ? Class::load_generic : Class::tensor;
  if (is(op, {"ld", "ldu", "st"})) {
    const bool load = op != "st";
    if (any_of(in, {"shared", "shared::cta"})) return load ? Class::load_shared : Class::store_shared;
    if (in.has("global")) return load ? Class::load_global : Class::store_global;
    if (in.has("local")) return load ? Class::load_local : Class::store_local;
    if (any_of(in, {"const", "param"})) return load ? Class::load_constant : Class::move;
    return load ? Class::load_generic : Class::store_generic;
  }
  if (is(op, {"ldmatrix"})) return Class::load_shared;
  if (is(op, {"stmatrix"})) return Class::store_shared;
  if (is(op, {"atom", "red"})) {
    if (any_of(in, {"shared", "shared::cta"})) return Class::shared_atom;
    return op == "atom" ? Class::global_atom : Class::global_red;
  }
  if (op == "cp") return Class::copy_async;
  if (is(op, {"bar", "barrier", "membar", "fence", "mbarrier"})) return Class::barrier;
  if (is(op, {"bra", "brx", "call", "ret", "exit", "trap", "nanosleep"})) return Class::control;
  if (is(op, {"shfl", "vote", "match", "redux", "activemask", "elect", "movmatrix"})) return Class::warp;
  if (is(op, {"mov", "cvta", "selp", "slct", "isspacep"})) return Class::move;
  if (op == "cvt") return Class::conversion;
  if (is(op, {"and", "or", "xor", "not", "cnot", "lop3", "shl", "shr", "shf", "prmt", "bfe", "bfi", "brev", "popc", "clz",
              "bfind", "fns", "szext", "bmsk"})) {
    return Class::logic;
  }
  if (any_of(in, {"f32", "ftz"}) && !any_of(in, {"f16", "f16x2", "bf16", "bf16x2"})) return Class::fp32;
  if (in.has("f64")) return Class::fp64;
  if (any_of(in, {"f16", "f16x2", "bf16", "bf16x2"})) return Class::fp16;
  if (any_of(in, {"s16", "u16", "s32", "u32", "s64", "u64", "b32", "b64"}) || is(op, {"dp4a", "dp2a"})) return Class::integer;
  return Class::other;
}

// Floating-point operations of one lane (of the whole warp for the tensor cores): a fused multiply-add is two.
struct Work {
  std::uint64_t lane_flops = 0, warp_flops = 0;
};

Work work_of(const ptx::Instruction& in) {
  if (in.opcode == "mma" || (in.opcode == "wmma" && in.has("mma"))) {
    for (std::string_view modifier : in.modifiers) {
      unsigned m = 0, n = 0, k = 0;
      if (std::sscanf(std::string(modifier).c_str(), "m%un%uk%u", &m, &n, &k) == 3) return {0, std::uint64_t{2} * m * n * k};
    }
    return {};
  }
  const Class kind = class_of(in);
  if (kind != Class::fp32 && kind != Class::fp64 && kind != Class::fp16) return {};
  const std::uint64_t width = any_of(in, {"f16x2", "bf16x2"}) ? 2 : 1;
  if (is(in.opcode, {"fma", "mad"})) return {2 * width, 0};
  if (is(in.opcode, {"add", "sub", "mul"})) return {width, 0};
  return {};
}

struct InstructionInfo {
  std::string function, text, source;  // "file.cu:12" outermost inlined place; text the mnemonic
  int ptx_line = 0;
  Class kind = Class::other;
  Work work;
  bool counted = false;  // what the decoder added is not
};

struct KernelProfile {
  std::string name;
  Dim3 grid, block;
  std::size_t static_shared = 0, dynamic_shared = 0;
  int registers = 0;
  std::size_t spill_bytes = 0;
  std::uint64_t launches = 0;
  std::uint64_t read_sectors = 0, written_sectors = 0;  // different ones, launch by launch
  std::vector<InstructionInfo> instructions;
  std::vector<Counters> counters;
};

std::string source_of(const ptx::Module& module, const ptx::Function& function, int at) {
  // The line of the kernel itself, where what stands there was inlined.
  std::string text;
  for (; at >= 0; at = function.lines[at].inlined_at) {
    const ptx::SourceLine& line = function.lines[at];
    if (line.line == 0) continue;
    const std::string file = line.file < static_cast<int>(module.files.size()) ? module.files[line.file] : "";
    text = fmt::format("{}:{}", std::filesystem::path(file).filename().string(), line.line);
  }
  return text;
}

std::vector<InstructionInfo> describe(const Kernel& kernel) {
  std::vector<InstructionInfo> result(kernel.code->instructions);
  for (const auto& code : kernel.code->functions) {
    if (code == nullptr) continue;
    for (std::size_t n = 0; n < code->instructions.size(); ++n) {
      const ptx::Instruction* source = code->sources[n];
      // Fillers share their source with the instruction after them.
      if (source == nullptr || (n + 1 < code->sources.size() && code->sources[n + 1] == source)) continue;
      InstructionInfo& info = result[code->instructions[n].index];
      info.function = code->function->name;
      info.text = std::string(source->full);
      info.source = source_of(kernel.program->module(), *code->function, source->line);
      info.ptx_line = source->ptx_line;
      info.kind = class_of(*source);
      // What nobody reads the result of is a reduction: ptxas makes it one.
      if (info.kind == Class::global_atom && (code->instructions[n].flags & access::kResult) == 0)
        info.kind = Class::global_red;
      info.work = work_of(*source);
      info.counted = true;
    }
  }
  return result;
}

using Key = std::tuple<std::string, Dim3, Dim3, std::size_t>;

struct Profiles {
  std::mutex mutex;
  std::map<Key, std::size_t> places;
  std::vector<KernelProfile> kernels;  // in the order of their first launch
};

Profiles& profiles() {
  static auto* const all = new Profiles;  // never destroyed: it is written while the process ends
  return *all;
}

// The sums over some instructions of a kernel.
struct Sums {
  Counters all;
  Counters loads, stores, shared_loads, shared_stores, local, atomics;
  std::uint64_t by_class[static_cast<int>(Class::count)] = {};
  std::uint64_t flops = 0, tensor_flops = 0, tensor = 0;

  void add(const InstructionInfo& info, const Counters& counters) {
    if (!info.counted) return;
    all += counters;
    by_class[static_cast<int>(info.kind)] += counters.executed;
    flops += counters.lanes * info.work.lane_flops;
    tensor_flops += counters.executed * info.work.warp_flops;
    tensor += info.kind == Class::tensor ? counters.executed : 0;
    switch (info.kind) {
      case Class::load_global:
      case Class::load_generic:
      case Class::copy_async:
        loads += counters;
        break;
      case Class::store_global:
      case Class::store_generic:
        stores += counters;
        break;
      case Class::load_shared:
        shared_loads += counters;
        break;
      case Class::store_shared:
        shared_stores += counters;
        break;
      case Class::load_local:
      case Class::store_local:
        local += counters;
        break;
      case Class::global_atom:
      case Class::global_red:
      case Class::shared_atom:
        atomics += counters;
        break;
      default:
        break;
    }
  }
};

double ratio(std::uint64_t x, std::uint64_t y) { return y == 0 ? 0 : static_cast<double>(x) / static_cast<double>(y); }

json metrics_of(const Sums& sums) {
  json m;
  m["smsp__inst_executed.sum"] = sums.all.executed;
  m["smsp__thread_inst_executed_pred_on.sum"] = sums.all.lanes;
  m["smsp__thread_inst_executed_pred_on_per_inst_executed.ratio"] = ratio(sums.all.lanes, sums.all.executed);
  m["smsp__branch_targets_threads_divergent.sum"] = sums.all.divergent;
  auto global = [&](const char* op, const Counters& c) {
    m[fmt::format("l1tex__t_requests_pipe_lsu_mem_global_op_{}.sum", op)] = c.requests;
    m[fmt::format("l1tex__t_sectors_pipe_lsu_mem_global_op_{}.sum", op)] = c.sectors;
    m[fmt::format("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_{}.ratio", op)] = ratio(c.sectors, c.requests);
    m[fmt::format("smsp__sass_data_bytes_mem_global_op_{}.sum", op)] = c.bytes;
  };
  global("ld", sums.loads);
  global("st", sums.stores);
  auto shared = [&](const char* op, const Counters& c) {
    m[fmt::format("l1tex__data_pipe_lsu_wavefronts_mem_shared_op_{}.sum", op)] = c.wavefronts;
    m[fmt::format("l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_{}.sum", op)] =
        c.wavefronts - std::min(c.wavefronts, c.ideal_wavefronts);
    m[fmt::format("smsp__sass_data_bytes_mem_shared_op_{}.sum", op)] = c.bytes;
  };
  Counters shared_loads = sums.shared_loads, shared_stores = sums.shared_stores;
  // A cp.async reads global memory and writes shared memory.
  shared("ld", shared_loads);
  shared("st", shared_stores);
  m["l1tex__t_sectors_pipe_lsu_mem_local.sum"] = sums.local.sectors;
  m["smsp__inst_executed_op_global_atom.sum"] = sums.by_class[static_cast<int>(Class::global_atom)];
  m["smsp__inst_executed_op_global_red.sum"] = sums.by_class[static_cast<int>(Class::global_red)];
  m["smsp__inst_executed_op_shared_atom.sum"] = sums.by_class[static_cast<int>(Class::shared_atom)];
  m["atomic_lanes_at_one_address.sum"] = sums.atomics.atomic_conflicts;
  m["sm__inst_executed_pipe_tensor.sum"] = sums.tensor;
  m["tensor_flops.sum"] = sums.tensor_flops;
  m["flops.sum"] = sums.flops;
  return m;
}

json classes_of(const Sums& sums) {
  json c;
  for (int n = 0; n < static_cast<int>(Class::count); ++n) {
    if (sums.by_class[n] != 0) c[kClassNames[n]] = sums.by_class[n];
  }
  return c;
}

json launch_of(const KernelProfile& kernel) {
  const DeviceModel& model = device_model(options().architecture);
  const std::uint32_t threads = kernel.block[0] * kernel.block[1] * kernel.block[2];
  const std::size_t shared = kernel.static_shared + kernel.dynamic_shared;
  const Occupancy o = occupancy(model, threads, kernel.registers, shared);
  const std::uint64_t blocks = std::uint64_t{kernel.grid[0]} * kernel.grid[1] * kernel.grid[2];
  json l;
  l["launch__registers_per_thread"] = kernel.registers > 0 ? json(kernel.registers) : json(nullptr);
  l["launch__local_bytes_per_thread"] = kernel.spill_bytes;
  l["launch__shared_mem_per_block_static"] = kernel.static_shared;
  l["launch__shared_mem_per_block_dynamic"] = kernel.dynamic_shared;
  l["launch__occupancy_limit_warps"] = o.blocks_by_threads;
  l["launch__occupancy_limit_registers"] = kernel.registers > 0 ? json(o.blocks_by_registers) : json(nullptr);
  l["launch__occupancy_limit_shared_mem"] = o.blocks_by_shared;
  l["launch__occupancy_limit_blocks"] = o.blocks_by_slots;
  l["launch__occupancy_limited_by"] = o.limit;
  l["sm__maximum_warps_per_active_cycle_pct"] =
      100 * ratio(static_cast<std::uint64_t>(o.warps), static_cast<std::uint64_t>(o.max_warps));
  l["launch__waves_per_multiprocessor"] =
      o.blocks == 0 ? 0 : static_cast<double>(blocks) / (static_cast<double>(o.blocks) * model.multiprocessors);
  return l;
}

std::string dimensions(const Dim3& d) { return fmt::format("({},{},{})", d[0], d[1], d[2]); }

json report() {
  json kernels = json::array();
  for (const KernelProfile& kernel : profiles().kernels) {
    Sums sums;
    std::map<std::string, Sums> lines;
    json instructions = json::array();
    for (std::size_t n = 0; n < kernel.instructions.size(); ++n) {
      const InstructionInfo& info = kernel.instructions[n];
      const Counters& c = kernel.counters[n];
      sums.add(info, c);
      if (!info.counted || c.executed == 0) continue;
      if (!info.source.empty()) lines[info.source].add(info, c);
      json i = {{"ptx_line", info.ptx_line},
                {"instruction", info.text},
                {"source", info.source},
                {"executed", c.executed},
                {"threads", c.lanes}};
      if (c.divergent != 0) i["divergent"] = c.divergent;
      if (c.requests != 0) i["requests"] = c.requests, i["sectors"] = c.sectors;
      if (c.bytes != 0) i["bytes"] = c.bytes;
      if (c.wavefronts != 0) i["wavefronts"] = c.wavefronts, i["ideal_wavefronts"] = c.ideal_wavefronts;
      if (c.atomic_conflicts != 0) i["atomic_conflicts"] = c.atomic_conflicts;
      instructions.push_back(std::move(i));
    }
    json k = {{"kernel", kernel.name}, {"grid", kernel.grid}, {"block", kernel.block}, {"launches", kernel.launches}};
    k["launch"] = launch_of(kernel);
    k["metrics"] = metrics_of(sums);
    k["metrics"]["unique_sectors_read.sum"] = kernel.read_sectors;
    k["metrics"]["unique_sectors_written.sum"] = kernel.written_sectors;
    k["instructions_by_class"] = classes_of(sums);
    json by_line = json::array();
    for (const auto& [line, s] : lines)
      by_line.push_back({{"line", line}, {"metrics", metrics_of(s)}, {"instructions_by_class", classes_of(s)}});
    k["lines"] = std::move(by_line);
    k["instructions"] = std::move(instructions);
    kernels.push_back(std::move(k));
  }
  const DeviceModel& model = device_model(options().architecture);
  return {{"device", model.name}, {"architecture", fmt::format("sm_{}", model.architecture)}, {"kernels", std::move(kernels)}};
}

void print_table(const json& all) {
  std::FILE* out = stderr;
  fmt::print(
      out,
      "\ngannet-sim: {} kernel{} on {}; sums over all launches; instructions are the PTX's; no times: they can not be known\n",
      all["kernels"].size(), all["kernels"].size() == 1 ? "" : "s", all["device"].get<std::string>());
  for (const json& k : all["kernels"]) {
    const json& m = k["metrics"];
    const json& l = k["launch"];
    auto number = [&](const json& v) {
      return v.is_null() ? std::string("unknown") : v.is_number_float() ? fmt::format("{:.2f}", v.get<double>()) : v.dump();
    };
    auto row = [&](const char* label, const json& value) { fmt::print(out, "    {:<72} {:>16}\n", label, number(value)); };
    fmt::print(out, "\n  {}  {}x{}, {} launch{}\n", k["kernel"].get<std::string>(), dimensions(k["grid"].get<Dim3>()),
               dimensions(k["block"].get<Dim3>()), k["launches"].get<std::uint64_t>(), k["launches"] == 1 ? "" : "es");
    for (const auto& section : {std::pair{"Launch Statistics and Occupancy", &l}, std::pair{"Counters", &m}}) {
      fmt::print(out, "    -- {}\n", section.first);
      for (const auto& [name, value] : section.second->items()) {
        if (value.is_number() && value.get<double>() == 0) continue;
        if (value.is_string())
          fmt::print(out, "    {:<72} {:>16}\n", name, value.get<std::string>());
        else
          row(name.c_str(), value);
      }
    }
    fmt::print(out, "    -- Instructions by class\n");
    for (const auto& [name, value] : k["instructions_by_class"].items()) row(name.c_str(), value);
    // The lines that cost most.
    std::vector<const json*> lines;
    for (const json& line : k["lines"]) lines.push_back(&line);
    auto executed = [](const json* line) { return (*line)["metrics"]["smsp__inst_executed.sum"].get<std::uint64_t>(); };
    std::stable_sort(lines.begin(), lines.end(), [&](const json* x, const json* y) { return executed(x) > executed(y); });
    if (!lines.empty())
      fmt::print(out, "    -- {:<32} {:>14} {:>10} {:>14} {:>14}\n", "Source line", "instructions", "lanes", "sectors",
                 "conflicts");
    for (std::size_t n = 0; n < std::min<std::size_t>(lines.size(), 12); ++n) {
      const json& s = (*lines[n])["metrics"];
      auto count = [&](const char* name) { return s[name].get<std::uint64_t>(); };
      fmt::print(
          out, "       {:<32} {:>14} {:>10.2f} {:>14} {:>14}\n", (*lines[n])["line"].get<std::string>(), executed(lines[n]),
          s["smsp__thread_inst_executed_pred_on_per_inst_executed.ratio"].get<double>(),
          count("l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum") + count("l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum"),
          count("l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum") +
              count("l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum"));
    }
  }
}

}  // namespace

void record_profile(const Launch& launch, Worker& counted) {
  Profiles& all = profiles();
  const std::lock_guard lock(all.mutex);
  const Kernel& kernel = *launch.kernel;
  const auto [place, is_new] =
      all.places.try_emplace({kernel.name, launch.grid, launch.block, launch.dynamic_shared_bytes}, all.kernels.size());
  if (is_new) {
    KernelProfile profile;
    profile.name = kernel.demangled;
    profile.grid = launch.grid;
    profile.block = launch.block;
    profile.static_shared = kernel.static_shared_bytes;
    profile.dynamic_shared = launch.dynamic_shared_bytes;
    profile.registers = launch.registers;
    profile.spill_bytes = launch.spill_bytes;
    profile.instructions = describe(kernel);
    profile.counters.resize(profile.instructions.size());
    all.kernels.push_back(std::move(profile));
  }
  KernelProfile& profile = all.kernels[place->second];
  ++profile.launches;
  profile.read_sectors += counted.read_sectors.count();
  profile.written_sectors += counted.written_sectors.count();
  for (std::size_t n = 0; n < std::min(profile.counters.size(), counted.counters.size()); ++n)
    profile.counters[n] += counted.counters[n];
}

void write_profile() {
  const std::string& target = options().profile;
  if (target.empty()) return;
  const std::lock_guard lock(profiles().mutex);
  const json all = report();
  if (target == "-") {
    print_table(all);
    return;
  }
  // A name of its own, then renamed: the file is there as a whole or not at all. A device or a pipe stays what it is.
  std::error_code ignored;
  const bool is_special = std::filesystem::exists(target, ignored) && !std::filesystem::is_regular_file(target, ignored);
  const std::string temporary = is_special ? target : target + ".part";
  std::FILE* file = std::fopen(temporary.c_str(), "w");
  if (file == nullptr) throw Error("the profile {} can not be written", target);
  const std::string text = all.dump(1) + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!closed || !written || (!is_special && std::rename(temporary.c_str(), target.c_str()) != 0)) {
    if (!is_special) std::remove(temporary.c_str());
    throw Error("the profile {} can not be written", target);
  }
}

}  // namespace sim
