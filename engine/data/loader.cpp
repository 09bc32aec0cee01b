#include "engine/data/loader.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/data/prefetch.h"
#include "kernels/check.h"

namespace gannet {

namespace {

constexpr std::uint64_t no_epoch = std::numeric_limits<std::uint64_t>::max();

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit of the result depends on every bit of the argument.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// Draws of purposes that share a seed must not share numbers.
enum class Purpose : std::uint64_t { order = 1, flip = 2 };
std::uint64_t key(std::uint64_t seed, Purpose purpose, std::uint64_t number) {
  return mix(mix(mix(seed) + static_cast<std::uint64_t>(purpose)) + number);
}

// SplitMix64 as a sequence, bounded without bias by rejection (Lemire 2019).
class Draws {
 public:
  explicit Draws(std::uint64_t state) : state_(state) {}
  std::uint32_t below(std::uint32_t bound) {
    const std::uint32_t threshold = (0u - bound) % bound;
    while (true) {
      const std::uint64_t product = (mix(state_++) >> 32) * bound;
      if (static_cast<std::uint32_t>(product) >= threshold) return static_cast<std::uint32_t>(product >> 32);
    }
  }

 private:
  std::uint64_t state_;
};

void copy_mirrored(std::span<const std::uint8_t> image, const Shape& shape, std::uint8_t* out) {
  const std::int64_t width = shape[2], channels = shape[3];
  for (std::int64_t y = 0; y < shape[1]; ++y) {
    const std::uint8_t* row = image.data() + y * width * channels;
    for (std::int64_t x = width - 1; x >= 0; --x) out = std::copy_n(row + x * channels, channels, out);
  }
}

}  // namespace

SampleStream::SampleStream(std::int64_t size, std::uint64_t seed) : seed_(seed), epoch_(no_epoch) {
  GANNET_CHECK(size > 0 && size <= std::numeric_limits<std::uint32_t>::max(), "cannot shuffle {} samples", size);
  order_.resize(static_cast<std::size_t>(size));
}

std::int64_t SampleStream::index(std::uint64_t position) {
  const std::uint64_t size = order_.size();
  if (const std::uint64_t epoch = position / size; epoch != epoch_) {
    std::iota(order_.begin(), order_.end(), 0u);
    Draws draws(key(seed_, Purpose::order, epoch));
    for (std::uint32_t i = static_cast<std::uint32_t>(size) - 1; i > 0; --i) std::swap(order_[i], order_[draws.below(i + 1)]);
    epoch_ = epoch;
  }
  return order_[position % size];
}

bool SampleStream::flipped(std::uint64_t position) const { return key(seed_, Purpose::flip, position) >> 63 != 0; }

struct Loader::Implementation {
  struct Slot {
    std::vector<std::uint8_t> images;
    std::vector<std::int32_t> labels;
    std::uint64_t position = 0;  // after the batch
  };

  static std::array<Slot, Prefetch<Slot>::slot_count> slots(const Dataset& dataset, std::int64_t batch) {
    std::array<Slot, Prefetch<Slot>::slot_count> slots;
    for (Slot& slot : slots) {
      slot.images.resize(static_cast<std::size_t>(batch) * dataset.image_bytes());
      slot.labels.resize(dataset.labels().empty() ? 0 : static_cast<std::size_t>(batch));
    }
    return slots;
  }

  Implementation(std::shared_ptr<const Dataset> source, const LoaderOptions& settings)
      : dataset(std::move(source)),
        options(settings),
        stream(dataset->size(), options.seed),
        position(options.position),
        prefetch(slots(*dataset, options.batch), [this](Slot& slot) { fill(slot); }) {}

  // By the thread.
  void fill(Slot& slot) {
    dataset->file().file().check_whole();
    const auto batch = static_cast<std::uint64_t>(options.batch);
    const std::uint64_t first = position + static_cast<std::uint64_t>(options.rank) * batch;
    std::uint8_t* out = slot.images.data();
    for (std::uint64_t i = 0; i < batch; ++i, out += dataset->image_bytes()) {
      const std::int64_t index = stream.index(first + i);
      const std::span<const std::uint8_t> image = dataset->image(index);
      if (options.flips && stream.flipped(first + i)) {
        copy_mirrored(image, dataset->shape(), out);
      } else {
        std::copy(image.begin(), image.end(), out);
      }
      if (!slot.labels.empty()) slot.labels[i] = dataset->labels()[static_cast<std::size_t>(index)];
    }
    position += batch * static_cast<std::uint64_t>(options.world);
    slot.position = position;
  }

  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  SampleStream stream;
  std::uint64_t position;
  Batch batch;
  Prefetch<Slot> prefetch;  // last: its thread uses the rest
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options) : position_(options.position) {
  GANNET_CHECK(options.batch > 0, "a batch of {} samples", options.batch);
  GANNET_CHECK(options.world > 0 && options.rank >= 0 && options.rank < options.world, "rank {} of {}", options.rank,
               options.world);
  implementation_ = std::make_unique<Implementation>(std::move(dataset), options);
}

Loader::~Loader() = default;

const Batch& Loader::next() {
  const Implementation::Slot& slot = implementation_->prefetch.next();
  implementation_->batch = {slot.images, slot.labels, slot.position};
  position_ = slot.position;
  return implementation_->batch;
}

}  // namespace gannet
