#include "kernels/cuda/implicit_gemm_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <span>
#include <vector>

namespace gannet::kernels::cuda {
namespace {

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t rows_of(const ProductSpec& spec) {
  const ImplicitGemm& product = spec.product;
  if (spec.form == ProductForm::wgrad || spec.form == ProductForm::transposed) return product.m;
  int rows = 0;
  for (int i = 0; i < product.classes; ++i) rows = std::max(rows, product.pixel_class[i].rows);
  return rows;
}

std::int64_t iterations_of(const ProductSpec& spec) {
  const ImplicitGemm& product = spec.product;
  const std::int64_t iterations = ceil_divide(product.inner, spec.math == ProductMath::bf16 ? 32 : 16);
  if (spec.form != ProductForm::dgrad) return iterations;
  std::int64_t taps = 0;
  for (int i = 0; i < product.classes; ++i)
    taps = std::max<std::int64_t>(taps, product.pixel_class[i].taps_h * product.pixel_class[i].taps_w);
  return iterations * taps;
}

// A multiprocessor of an A100 has, a clock: 1024 products of bf16 (512 of tf32, 64 of fp32) and, when all want it, 30 bytes of
// the L2 cache, three times what memory gives; an H100 has a third more of each. A meeting through memory takes 1500 clocks,
// as does the way from a launch to the first product.
constexpr double l2_bytes = 30, memory_bytes = 10, latency = 1500;
double products_of(ProductMath math) { return math == ProductMath::bf16 ? 1024 : math == ProductMath::tf32 ? 512 : 64; }

// The share of a multiprocessor's speed that so many warps reach: fewer than 8 can't hide their own waits.
constexpr double full_speed = 0.95;
double speed_of(int warps) { return warps >= 8 ? full_speed : warps >= 4 ? 0.7 : 0.45; }

// One way to compute a product.
struct Candidate {
  ProductPlan plan;
  double clocks = 0;  // of all blocks, on one multiprocessor
  // What its bytes cost besides, in clocks of one multiprocessor: the sums of splits go to memory and back; and what
  // multiprocessors read and write the device pays for in power, a third of the bytes is worth a tenth of the time.
  double moved = 0;
  double least(double multiprocessors) const { return (clocks / full_speed + moved) / multiprocessors; }
};

double sums_of(const TileTraits& tile) { return 4.0 * tile.m * tile.n; }

// Blocks that share each of `tiles` tiles with `splits` - 1 others.
TileShare share_of(const ProductSpec& spec, const TileTraits& tile, std::int64_t tiles, int splits) {
  const bool bf16 = spec.math == ProductMath::bf16;
  const double depth = bf16 ? 32 : 16, element = bf16 ? 2 : 4, output = spec.product.output_bf16 ? 2 : 4;
  const double multiply = tile.m * tile.n * depth / products_of(spec.math);
  const double operands = full_speed * (tile.m + tile.n) * depth * element / l2_bytes;
  double clocks = std::max(multiply, operands) * static_cast<double>(ceil_divide(iterations_of(spec), splits)) +
                  tile.m * tile.n * output / l2_bytes + latency / tile.resident;
  // Of each tile's blocks all but one leave their sums, and all but one are taken up.
  if (splits > 1)
    clocks += 2.0 * (splits - 1) / splits * sums_of(tile) / l2_bytes + std::ceil(std::log2(splits)) * latency / tile.resident;
  return {tiles, splits, clocks};
}

Candidate candidate_of(const ProductSpec& spec, ProductTile tile, std::span<const TileShare> shares) {
  const TileTraits traits = traits_of(tile);
  const double depth = spec.math == ProductMath::bf16 ? 32 * 2 : 16 * 4;
  Candidate result;
  result.plan.tile = tile;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const TileShare& share = result.plan.shares[i] = shares[i];
    const auto tiles = static_cast<double>(share.tiles);
    const double places = share.splits == 1 ? 0 : (share.splits + 1) / 2;
    result.clocks += static_cast<double>(share.blocks()) * share.clocks;
    result.moved += 2 * tiles * places * sums_of(traits) / memory_bytes +
                    0.3 * tiles * static_cast<double>(iterations_of(spec)) * (traits.m + traits.n) * depth / l2_bytes;
  }
  return result;
}

constexpr ProductTile small_tile[] = {ProductTile::small}, large_tile[] = {ProductTile::large},
                      float_tiles[] = {ProductTile::medium, ProductTile::small},
                      pair_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::tall, ProductTile::medium},
                      wgrad_tiles[] = {ProductTile::wide, ProductTile::large, ProductTile::medium};

std::span<const ProductTile> tiles_for(const ProductSpec& spec) {
  const ProductAccess access = access_of(spec);
  if (spec.math == ProductMath::f32 && access == ProductAccess::vector) return float_tiles;
  // Few iterations, whose beginning and end weigh most: the fewer warps the better.
  if (access == ProductAccess::half && rows_of(spec) > 64) return large_tile;
  if (access != ProductAccess::pairs) return small_tile;
  return spec.form == ProductForm::wgrad ? std::span<const ProductTile>(wgrad_tiles) : pair_tiles;
}

// Has a block of the device the shared memory that the tile takes (implicit_gemm.cuh): at most four stages, for wgrad a table,
// and what the block is to compute? Devices of 8.6, 8.9 and 12.0 have 99 KiB, 1 too few for the wide tiles of wgrad.
bool fits(const ProductSpec& spec, ProductTile tile, const Device& device) {
  constexpr int stages = 4, line_bytes = 64, entry_bytes = 8, place_bytes = 64;
  const TileTraits traits = traits_of(tile);
  const int table = spec.form == ProductForm::wgrad ? 2 * traits.warps * 32 * entry_bytes : 0;
  const int bytes = stages * (traits.m + traits.n) * line_bytes + table + place_bytes;
  return device.shared_bytes == 0 || static_cast<std::size_t>(bytes) <= device.shared_bytes;
}

// Every tile as often split, or the first ones, which fill the device some times over, less than the rest.
std::vector<Candidate> candidates_of(const ProductSpec& spec, const Device& device) {
  constexpr int most_splits = 64, most_of_first = 4, most_of_rest = 16, fewest_iterations = 8;
  const std::int64_t iterations = iterations_of(spec), multiprocessors = std::max(1, device.multiprocessors);
  std::vector<Candidate> result;
  for (const ProductTile tile : tiles_for(spec)) {
    if (!fits(spec, tile, device)) continue;
    const TileTraits traits = traits_of(tile);
    const std::int64_t tiles = tiles_of(spec, tile).all;
    const auto possible = [&](int splits) { return splits == 1 || iterations / splits >= fewest_iterations; };
    for (int splits = 1; splits <= most_splits && possible(splits); ++splits) {
      const TileShare all[] = {share_of(spec, traits, tiles, splits)};
      result.push_back(candidate_of(spec, tile, all));
    }
    if (!alike(spec.product)) continue;
    for (int splits = 1; splits <= most_of_first && possible(splits); ++splits) {
      const std::int64_t fills = tiles * splits / multiprocessors;
      for (std::int64_t fill = fills; fill > std::max<std::int64_t>(0, fills - 3); --fill) {
        const std::int64_t first = fill * multiprocessors / splits;
        if (first == 0 || first == tiles) continue;
        for (int more = splits + 1; more <= most_of_rest && possible(more); ++more) {
          const TileShare both[] = {share_of(spec, traits, first, splits), share_of(spec, traits, tiles - first, more)};
          result.push_back(candidate_of(spec, tile, both));
        }
      }
    }
  }
  std::sort(result.begin(), result.end(), [&](const Candidate& a, const Candidate& b) { return a.least(1) < b.least(1); });
  return result;
}

// The clocks that blocks take, each begun on the first multiprocessor that has room: those on one share its speed.
class Timeline {
 public:
  Timeline(const TileTraits& tile, int multiprocessors)
      : warps_(tile.warps), resident_(tile.resident), processors_(static_cast<std::size_t>(std::max(1, multiprocessors))) {}

  // shares: in the order of their blocks.
  double clocks(std::span<const TileShare> shares) {
    double all = 0, longest = 0;
    std::int64_t blocks = 0;
    for (const TileShare& share : shares) {
      all += static_cast<double>(share.blocks()) * share.clocks;
      longest = std::max(longest, share.clocks);
      blocks += share.blocks();
    }
    const auto room = static_cast<std::int64_t>(processors_.size()) * resident_;
    if (blocks > 32 * room) return all / full_speed / static_cast<double>(processors_.size()) + longest + latency;
    shares_ = shares, taken_ = 0;
    for (Processor& processor : processors_) processor = {};
    for (int i = 0; i < resident_; ++i)
      for (Processor& processor : processors_) begin(processor);
    for (std::size_t i = 0; i < processors_.size(); ++i) expect(i);
    double now = 0;
    while (!events_.empty()) {
      now = events_.top().first;
      const std::size_t i = events_.top().second;
      events_.pop();
      Processor& processor = processors_[i];
      const double done = (now - processor.since) * speed(processor);
      int left = 0;
      for (int k = 0; k < processor.blocks; ++k)
        if (processor.left[k] - done > 1e-6 * processor.left[k] + 1e-9) processor.left[left++] = processor.left[k] - done;
      if (left == processor.blocks) --left;  // rounding
      processor.blocks = left;
      processor.since = now;
      while (processor.blocks < resident_ && begin(processor)) {
      }
      expect(i);
    }
    return now + latency;
  }

 private:
  struct Processor {
    std::array<double, 4> left{};
    int blocks = 0;
    double since = 0;
  };

  double speed(const Processor& processor) const { return speed_of(processor.blocks * warps_) / processor.blocks; }

  bool begin(Processor& processor) {
    while (!shares_.empty() && taken_ == shares_.front().blocks()) shares_ = shares_.subspan(1), taken_ = 0;
    if (shares_.empty()) return false;
    ++taken_;
    processor.left[static_cast<std::size_t>(processor.blocks++)] = shares_.front().clocks;
    return true;
  }

  void expect(std::size_t i) {
    const Processor& processor = processors_[i];
    if (processor.blocks == 0) return;
    const double next = *std::min_element(processor.left.begin(), processor.left.begin() + processor.blocks);
    events_.emplace(processor.since + next / speed(processor), i);
  }

  int warps_, resident_;
  std::vector<Processor> processors_;
  std::span<const TileShare> shares_;
  std::int64_t taken_ = 0;
  using Event = std::pair<double, std::size_t>;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

double cost_of(const Candidate& candidate, const Device& device) {
  Timeline timeline(traits_of(candidate.plan.tile), device.multiprocessors);
  return timeline.clocks(candidate.plan.shares) + candidate.moved / std::max(1, device.multiprocessors);
}

// Which tiles of fprop or dgrad and of wgrad have a kernel that does both: those of blocks with as many threads.
bool compiled_together(ProductTile first, ProductTile wgrad) {
  using enum ProductTile;
  return (first == wgrad && (first == wide || first == large)) || (first == tall && wgrad == large);
}

struct Best {
  ProductPlan plan;
  double cost = std::numeric_limits<double>::infinity();
};

Best best_of(const ProductSpec& spec, const Device& device) {
  Best best;
  for (const Candidate& candidate : candidates_of(spec, device)) {
    if (candidate.least(std::max(1, device.multiprocessors)) >= best.cost) break;
    const double cost = cost_of(candidate, device);
    if (cost < best.cost) best = {candidate.plan, cost};
  }
  return best;
}

}  // namespace

TileTraits traits_of(ProductTile tile) {
  switch (tile) {
    case ProductTile::wide:
      return {256, 128, 8, 1};
    case ProductTile::large:
      return {128, 128, 4, 2};
    case ProductTile::tall:
      return {256, 64, 4, 2};
    case ProductTile::medium:
      return {128, 64, 2, 4};
    case ProductTile::small:
      break;
  }
  return {64, 64, 4, 4};
}

// Pieces of operands lie at multiples of what both contiguous extents can be divided by.
ProductAccess access_of(const ProductSpec& spec) {
  const auto& [form, math, product, order] = spec;
  int first = product.channels, second = product.channels;
  if (form == ProductForm::dgrad) second = product.n;
  if (form == ProductForm::wgrad) second = product.m;
  if (form == ProductForm::transposed) first = product.m, second = product.inner;
  const auto divisible = [&](int by) { return first % by == 0 && second % by == 0; };
  const bool bf16 = math == ProductMath::bf16;
  const int piece = bf16 ? 8 : 4;
  const int pair = bf16 ? 64 : 32;
  if (form != ProductForm::transposed && divisible(piece)) {
    const int inner = form == ProductForm::wgrad ? product.inner : product.channels;
    return math != ProductMath::f32 && inner % pair == 0 ? ProductAccess::pairs : ProductAccess::vector;
  }
  if (form == ProductForm::wgrad && product.m % piece == 0) return ProductAccess::mixed;
  if (bf16 && form == ProductForm::dgrad && product.channels % 4 == 0 && product.n % 8 == 0) return ProductAccess::half;
  if (bf16 && form == ProductForm::wgrad && product.m % 4 == 0 && product.channels % 8 == 0) return ProductAccess::half;
  if (bf16 && (form == ProductForm::transposed || !divisible(2))) return ProductAccess::element;
  return ProductAccess::word;
}

TileCounts tiles_of(const ProductSpec& spec, ProductTile tile) {
  const TileTraits traits = traits_of(tile);
  const std::int64_t rows = ceil_divide(rows_of(spec), traits.m), columns = ceil_divide(spec.product.n, traits.n);
  return {rows, columns, rows * columns * spec.product.classes};
}

bool alike(const ImplicitGemm& product) {
  const auto taps = [](const PixelClass& pixels) { return pixels.taps_h * pixels.taps_w; };
  return std::all_of(product.pixel_class, product.pixel_class + product.classes,
                     [&](const PixelClass& pixels) { return taps(pixels) == taps(product.pixel_class[0]); });
}

ProductPlan plan_product(const ProductSpec& spec, const Device& device) { return best_of(spec, device).plan; }

std::optional<PairPlan> plan_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device) {
  if (can_implement_thin(first.form, first.product) || can_implement_thin(wgrad.form, wgrad.product)) return std::nullopt;
  if (access_of(first) != ProductAccess::pairs || access_of(wgrad) != ProductAccess::pairs || first.math != wgrad.math)
    return std::nullopt;
  const double multiprocessors = std::max(1, device.multiprocessors);
  std::optional<PairPlan> best;
  // Of two launches, between which the device is idle.
  double least = best_of(first, device).cost + best_of(wgrad, device).cost + latency;
  const std::vector<Candidate> some = candidates_of(first, device), others = candidates_of(wgrad, device);
  for (const Candidate& a : some) {
    if (a.least(multiprocessors) + others.front().least(multiprocessors) >= least) break;
    for (const Candidate& b : others) {
      if (a.least(multiprocessors) + b.least(multiprocessors) >= least) break;
      if (!compiled_together(a.plan.tile, b.plan.tile)) continue;
      std::array<TileShare, 4> shares{a.plan.shares[0], a.plan.shares[1], b.plan.shares[0], b.plan.shares[1]};
      std::stable_sort(shares.begin(), shares.end(),
                       [](const TileShare& x, const TileShare& y) { return x.clocks > y.clocks; });
      Timeline timeline(traits_of(a.plan.tile), device.multiprocessors);
      const double cost = timeline.clocks(shares) + (a.moved + b.moved) / multiprocessors;
      if (cost < least) least = cost, best = PairPlan{a.plan, b.plan};
    }
  }
  return best;
}

}  // namespace gannet::kernels::cuda
