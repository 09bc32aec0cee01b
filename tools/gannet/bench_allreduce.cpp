#include "tools/gannet/bench_allreduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>

#include "engine/data/file.h"
#include "kernels/check.h"
#include "models/models.h"
#include "tools/gannet/configuration.h"
#include "tools/gannet/job.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string from = "4K", to = "256M", type = "f32";
  std::int64_t factor = 4;
  int repeats = 20, warmup = 5;
  bool json = false;
  DeviceOptions device;
};

// "256M", "64KiB", "1000": bytes; none when it is no such text, or too much.
std::optional<std::int64_t> size_of(const std::string& text) {
  constexpr std::int64_t most = std::int64_t{16} << 30;
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  if (unit.ends_with("iB")) unit.resize(unit.size() - 2);
  const std::size_t power = std::string("KMG").find(unit);
  if (failure != std::errc() || value < 1 || value > most || unit.size() > 1 || power == std::string::npos) return std::nullopt;
  const std::int64_t bytes = unit.empty() ? value : value << (10 * (power + 1));
  return bytes <= most ? std::optional(bytes) : std::nullopt;
}

CLI::Option* size(CLI::Option* option) {
  const auto check = [](const std::string& text) -> std::string {
    return size_of(text) ? "" : fmt::format("must be a size up to 16G, as 4K or 256M, not '{}'", text);
  };
  return option->type_name("SIZE")->check(check, "")->capture_default_str();
}

// Whole numbers whose sum is exact in bf16, too.
int number_of(int rank, std::size_t index) {
  return rank < 256 ? static_cast<int>((index * 7 + static_cast<std::size_t>(rank) * 5) % 17 < 8) : 0;
}

// The upper half of such a number in f32 is the same number in bf16.
template <typename Number>
std::vector<std::byte> bytes_of(DType type, std::size_t count, const Number& number) {
  const std::size_t width = type == DType::bf16 ? 2 : 4;
  std::vector<std::byte> bytes(count * width);
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(number(i));
    std::memcpy(bytes.data() + i * width, reinterpret_cast<const std::byte*>(&value) + 4 - width, width);
  }
  return bytes;
}

// Of a backend, for as long as it lives.
class Memory {
 public:
  Memory(kernels::Backend& backend, std::size_t bytes) : backend_(backend), data_(backend.allocate(bytes)) {}
  ~Memory() { backend_.release(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  kernels::Backend& backend_;
  void* data_;
};

struct Measured {
  std::size_t bytes = 0;
  double seconds = 0;      // of one reduction, on the slowest rank
  std::int64_t wrong = 0;  // elements, on all ranks
  // As nccl-tests has them: bytes over time, and that times what an all-reduce has to send and to get of each byte.
  double algorithm_bandwidth() const { return static_cast<double>(bytes) / seconds; }
  double bus_bandwidth(int ranks) const { return algorithm_bandwidth() * 2 * (ranks - 1) / ranks; }
};

Measured measure(const Options& options, Job& job, std::size_t bytes) {
  const Ranks& ranks = *job.ranks();
  kernels::Backend& backend = job.backend();
  const DType type = options.type == "bf16" ? DType::bf16 : DType::f32;
  const std::size_t count = std::max<std::size_t>(1, bytes / gannet::size_of(type));
  const TensorDesc desc{type, {static_cast<std::int64_t>(count)}};
  const Memory input(backend, desc.bytes()), output(backend, desc.bytes());
  backend.upload(input.data(), bytes_of(type, count, [&](std::size_t i) { return number_of(ranks.rank(), i); }).data(),
                 desc.bytes());
  kernels::AllReduce spec;
  spec.tensors = {desc};
  const auto kernel = ranks.communicator.create(spec);
  const void* const in = input.data();
  void* const out = output.data();
  const auto reduce = [&](int times) {
    for (int i = 0; i < times; ++i) {
      kernel->run({&in, &out, nullptr});
      kernel->await();
    }
    backend.synchronize();
  };
  reduce(options.warmup);
  ranks.group.gather({});
  const Clock::time_point begin = Clock::now();
  reduce(options.repeats);
  Measured own;
  own.bytes = desc.bytes();
  own.seconds = std::chrono::duration<double>(Clock::now() - begin).count() / options.repeats;

  const auto sum = [&](std::size_t i) {
    int all = 0;
    for (int rank = 0; rank < ranks.size(); ++rank) all += number_of(rank, i);
    return all;
  };
  const std::vector<std::byte> right = bytes_of(type, count, sum);
  std::vector<std::byte> result(desc.bytes());
  backend.download(result.data(), out, desc.bytes());
  const std::size_t width = gannet::size_of(type);
  for (std::size_t i = 0; i < result.size(); i += width) own.wrong += std::memcmp(&result[i], &right[i], width) != 0;

  Measured all = own;
  all.wrong = 0;
  for (const std::string& told : ranks.group.gather({reinterpret_cast<const char*>(&own), sizeof own})) {
    Measured other;
    std::memcpy(&other, told.data(), sizeof other);
    all.seconds = std::max(all.seconds, other.seconds);
    all.wrong += other.wrong;
  }
  return all;
}

int measure_all(const Options& options, Job& job) {
  if (job.ranks() == nullptr)
    throw InputError(
        "one rank alone has nothing to reduce: give --gpus N or --processes N, or start several by torchrun, mpirun or srun");
  const Ranks& ranks = *job.ranks();
  const bool simulated = job.backend().name().starts_with("cuda (Simulated");
  if (!options.json && job.leads()) {
    fmt::print("all reduce of {} by {}: {} ranks, sum, out of place, {} times\n", options.type, ranks.communicator.name(),
               ranks.size(), options.repeats);
    if (simulated) fmt::print("these devices are simulated, and a simulated time is none: only what is reduced is checked\n");
    fmt::print("{:>12} {:>12} {:>12} {:>12} {:>8}\n", "bytes", "time us", "algbw GB/s", "busbw GB/s", "wrong");
  }
  nlohmann::json rows = nlohmann::json::array();
  std::int64_t wrong = 0;
  for (std::int64_t bytes = *size_of(options.from); bytes <= *size_of(options.to); bytes *= options.factor) {
    const Measured measured = measure(options, job, static_cast<std::size_t>(bytes));
    wrong += measured.wrong;
    if (!job.leads()) continue;
    const double algorithm = measured.algorithm_bandwidth() / 1e9, bus = measured.bus_bandwidth(ranks.size()) / 1e9;
    nlohmann::json row = {{"bytes", measured.bytes}, {"wrong", measured.wrong}};
    if (!simulated) row.update({{"seconds", measured.seconds}, {"algorithm_gb_per_s", algorithm}, {"bus_gb_per_s", bus}});
    rows.push_back(row);
    if (options.json) continue;
    if (simulated)
      fmt::print("{:>12} {:>12} {:>12} {:>12} {:>8}\n", measured.bytes, "-", "-", "-", measured.wrong);
    else
      fmt::print("{:>12} {:>12.1f} {:>12.2f} {:>12.2f} {:>8}\n", measured.bytes, 1e6 * measured.seconds, algorithm, bus,
                 measured.wrong);
    std::fflush(stdout);
  }
  if (options.json && job.leads())
    fmt::print("{}\n", nlohmann::json({{"communicator", ranks.communicator.name()},
                                       {"backend", job.backend().name()},
                                       {"ranks", ranks.size()},
                                       {"type", options.type},
                                       {"repeats", options.repeats},
                                       {"simulated", simulated},
                                       {"sizes", rows}})
                           .dump(2));
  if (wrong > 0) throw RuntimeError(fmt::format("{} elements are not the sum over all ranks", wrong));
  return 0;
}

int run(const Options& options) {
  const std::int64_t from = *size_of(options.from), to = *size_of(options.to);
  GANNET_CHECK(from <= to, "--from {} is more than --to {}", options.from, options.to);
  // What any configuration says of threads and of ranks that are not heard of.
  const Resolved defaults = resolve(load_configuration(models::ready_names().front()));
  if (const std::optional<int> code = start_ranks(options.device)) return *code;
  Job job(options.device, defaults.config);
  return job.run([&] { return measure_all(options, job); });
}

}  // namespace

void add_bench_allreduce(CLI::App& bench, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand("allreduce", "Time the sum of a tensor over all ranks, and check it");
  command->footer(
      "algbw is bytes over time; busbw is that times 2 (ranks - 1) / ranks, as nccl-tests has them: what one rank has to send, "
      "and "
      "to get, in that time. GB are 10^9 bytes. --json prints communicator, backend, ranks, type, repeats, simulated (under "
      "gannet-sim, where there are no times) and for each of sizes bytes, wrong (elements), seconds, algorithm_gb_per_s, "
      "bus_gb_per_s.");
  size(command->add_option("--from", options->from, "Smallest tensor"));
  size(command->add_option("--to", options->to, "Largest tensor"));
  whole_number(command->add_option("--factor", options->factor, "From one size to the next"), 2, 1 << 30)
      ->capture_default_str();
  one_of(command->add_option("--type", options->type, "Of the elements"), {"f32", "bf16"})->capture_default_str();
  whole_number(command->add_option("--repeats", options->repeats, "Timed reductions of each size"), 1, 1000000)
      ->capture_default_str();
  whole_number(command->add_option("--warmup", options->warmup, "Reductions before the timed ones"), 1, 1000000)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  add_ranks_to(*command, options->device);
  options->device.add_to(*command);
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool
