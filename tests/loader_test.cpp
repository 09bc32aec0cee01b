#include "engine/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "engine/data/prefetch.h"
#include "kernels/check.h"
#include "tests/counted_allocations.h"
#include "tests/message.h"
#include "tests/temporary_folder.h"

namespace gannet {
namespace {

// Pictures of 1 x 3 x 1 whose bytes are their number's low and high byte, and 255; label: number mod 7.
std::filesystem::path write_dataset(const TemporaryFolder& folder, int size, bool labelled = true) {
  std::vector<std::uint8_t> images;
  std::vector<std::int32_t> labels;
  for (int i = 0; i < size; ++i) {
    for (const int value : {i & 255, i >> 8, 255}) images.push_back(static_cast<std::uint8_t>(value));
    labels.push_back(i % 7);
  }
  std::map<std::string, TensorView> tensors = {{"images", {DType::u8, {size, 1, 3, 1}, std::as_bytes(std::span(images))}}};
  if (labelled) tensors["labels"] = {DType::i32, {size}, std::as_bytes(std::span(labels))};
  write_safetensors(folder / "dataset", tensors);
  return folder / "dataset";
}

struct Sample {
  int number;
  bool flipped;
  int label;
  bool operator==(const Sample&) const = default;
};

std::vector<Sample> draw(const std::shared_ptr<const Dataset>& dataset, const LoaderOptions& options, int batches) {
  Loader loader(dataset, options);
  std::vector<Sample> samples;
  for (int i = 0; i < batches; ++i) {
    const Batch& batch = loader.next();
    EXPECT_EQ(batch.images.size(), static_cast<std::size_t>(options.batch) * 3);
    EXPECT_EQ(batch.position, loader.position());
    for (std::size_t n = 0; n < static_cast<std::size_t>(options.batch); ++n) {
      const std::uint8_t* image = &batch.images[3 * n];
      const bool flipped = image[2] != 255;
      const int low = flipped ? image[2] : image[0];
      samples.push_back({low + 256 * image[1], flipped, batch.labels.empty() ? -1 : batch.labels[n]});
    }
  }
  return samples;
}

TEST(SampleStream, EveryEpochIsAPermutation) {
  for (const std::int64_t size : {1, 2, 3, 10, 257, 1000}) {
    SampleStream stream(size, 5);
    std::set<std::vector<std::int64_t>> orders;
    for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
      std::vector<std::int64_t> order, sorted, all(static_cast<std::size_t>(size));
      for (std::int64_t i = 0; i < size; ++i)
        order.push_back(stream.index(epoch * static_cast<std::uint64_t>(size) + static_cast<std::uint64_t>(i)));
      sorted = order;
      std::sort(sorted.begin(), sorted.end());
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(sorted, all);
      orders.insert(order);
    }
    EXPECT_TRUE(size < 10 || orders.size() == 4) << "epochs repeat";
  }
  EXPECT_THROW(SampleStream(0, 1), InputError);
}

// All 120 orders of five samples are equally likely: chi-square with 119 degrees of freedom is over 184 once in 10,000.
TEST(SampleStream, OrdersAreUniform) {
  SampleStream stream(5, 2024);
  constexpr int epochs = 60000;
  std::map<std::vector<std::int64_t>, int> counts;
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    std::vector<std::int64_t> order;
    for (std::uint64_t i = 0; i < 5; ++i) order.push_back(stream.index(5 * epoch + i));
    ++counts[order];
  }
  EXPECT_EQ(counts.size(), 120u);
  double chi_square = 0;
  for (const auto& [order, count] : counts)
    chi_square += (count - epochs / 120.0) * (count - epochs / 120.0) / (epochs / 120.0);
  EXPECT_LT(chi_square, 184);
}

TEST(SampleStream, AnyPositionAtOnce) {
  SampleStream sequential(100, 9);
  std::vector<std::int64_t> order;
  for (std::uint64_t i = 0; i < 1000; ++i) order.push_back(sequential.index(i));
  for (const std::uint64_t position : {999, 0, 500, 499, 100, 99, 731}) {
    EXPECT_EQ(SampleStream(100, 9).index(position), order[position]);
    EXPECT_EQ(sequential.index(position), order[position]);
  }
  int equal = 0;
  SampleStream other(100, 10);
  for (std::uint64_t i = 0; i < 1000; ++i) equal += other.index(i) == order[i];
  EXPECT_LT(equal, 40) << "seeds give the same order";  // 10 expected
}

TEST(Loader, GivesTheStream) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 300));
  SampleStream stream(300, 4);
  const std::vector<Sample> samples = draw(dataset, {.batch = 64, .seed = 4}, 30);  // over six epochs, no batch cut short
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const int expected = static_cast<int>(stream.index(i));
    EXPECT_EQ(samples[i], (Sample{expected, false, expected % 7})) << i;
  }
}

TEST(Loader, GoesOnWhereItStopped) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 50));
  const std::vector<Sample> whole = draw(dataset, {.batch = 8, .seed = 4, .flips = true}, 40);
  for (const std::size_t batches : {1u, 6u, 7u, 39u}) {
    const auto rest =
        draw(dataset, {.batch = 8, .seed = 4, .flips = true, .position = 8 * batches}, static_cast<int>(40 - batches));
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + static_cast<std::ptrdiff_t>(8 * batches), whole.end()))
        << batches;
  }
}

TEST(Loader, FlipsHalf) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 500));
  const std::vector<Sample> flipped = draw(dataset, {.batch = 50, .seed = 4, .flips = true}, 200);
  const std::vector<Sample> plain = draw(dataset, {.batch = 50, .seed = 4}, 200);
  int flips = 0, changes = 0;
  for (std::size_t i = 0; i < flipped.size(); ++i) {
    EXPECT_EQ(flipped[i].number, plain[i].number);
    EXPECT_FALSE(plain[i].flipped);
    flips += flipped[i].flipped;
    changes += i > 0 && flipped[i].flipped != flipped[i - 1].flipped;
  }
  EXPECT_NEAR(flips, 5000, 250);  // five standard deviations
  EXPECT_NEAR(changes, 5000, 250);
  EXPECT_EQ(draw(dataset, {.batch = 50, .seed = 4, .flips = true}, 200), flipped);
}

// What several ranks draw together is what one draws alone, batch by batch.
TEST(Loader, RanksShareOneStream) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 300));
  const std::vector<Sample> alone = draw(dataset, {.batch = 24, .seed = 4, .flips = true, .position = 48}, 20);
  for (const int world : {2, 3, 4}) {
    const int batch = 24 / world;
    for (int rank = 0; rank < world; ++rank) {
      const auto part =
          draw(dataset, {.batch = batch, .seed = 4, .flips = true, .position = 48, .rank = rank, .world = world}, 20);
      for (std::size_t i = 0; i < part.size(); ++i) {
        const std::size_t step = i / static_cast<std::size_t>(batch), within = i % static_cast<std::size_t>(batch);
        EXPECT_EQ(part[i], alone[24 * step + static_cast<std::size_t>(rank * batch) + within]) << rank << " of " << world;
      }
    }
    Loader loader(dataset, {.batch = batch, .rank = 1, .world = world});
    EXPECT_EQ(loader.next().position, 24u);
  }
}

// In whichever thread.
TEST(Loader, SteadyBatchesDoNotAllocate) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own allocator";
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 300));
  Loader loader(dataset, {.batch = 64, .seed = 4, .flips = true});
  for (int i = 0; i < 10; ++i) loader.next();
  const long before = testing::allocations().own;
  for (int i = 0; i < 200; ++i) loader.next();
  EXPECT_EQ(testing::allocations().own - before, 0);
}

TEST(Loader, StopsWithoutBeingRead) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 10, false));
  EXPECT_TRUE(Loader(dataset, {}).next().labels.empty());
  for (int i = 0; i < 100; ++i) {
    Loader loader(dataset, {.batch = 32});
    if (i % 2 == 0) loader.next();
  }
}

TEST(Loader, DatasetCutShortMeanwhile) {
  const TemporaryFolder folder;
  const auto path = write_dataset(folder, 300);
  Loader loader(std::make_shared<const Dataset>(path), {.batch = 8});
  loader.next();
  std::filesystem::resize_file(path, 10);
  const auto drain = [&] {
    for (int i = 0; i < 5; ++i) loader.next();
  };
  EXPECT_TRUE(says(message_of<RuntimeError>(drain), "was cut from"));
  EXPECT_TRUE(says(message_of<RuntimeError>(drain), "was cut from"));  // and stays so
}

TEST(Loader, ChecksItsOptions) {
  const TemporaryFolder folder;
  const auto dataset = std::make_shared<const Dataset>(write_dataset(folder, 3));
  EXPECT_THROW(Loader(dataset, {.batch = 0}), InputError);
  EXPECT_THROW(Loader(dataset, {.rank = 1}), InputError);
  EXPECT_THROW(Loader(dataset, {.rank = -1}), InputError);
  EXPECT_THROW(Loader(dataset, {.world = 0}), InputError);
}

// What was filled before a failure is still given; then the failure, every time.
TEST(Prefetch, FailsInItsTurn) {
  int filled = 0;
  Prefetch<int> prefetch({}, [&](int& slot) {
    if (filled == 5) throw RuntimeError("the sixth");
    slot = filled++;
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(prefetch.next(), i);
  EXPECT_EQ(message_of<RuntimeError>([&] { prefetch.next(); }), "the sixth");
  EXPECT_EQ(message_of<RuntimeError>([&] { prefetch.next(); }), "the sixth");
}

TEST(Dataset, Malformed) {
  const std::vector<std::uint8_t> bytes(24);
  const auto pictures = [&](const Shape& shape) {
    return TensorView{DType::u8, shape, std::as_bytes(std::span(bytes)).first(static_cast<std::size_t>(shape.elements()))};
  };
  const auto labels = [](const std::vector<std::int32_t>& values) {
    return TensorView{DType::i32, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))};
  };
  const std::vector<std::int32_t> good = {0, 1}, negative = {0, -1}, three = {0, 1, 2};
  const TensorView images = pictures({2, 2, 2, 3});
  struct Case {
    std::map<std::string, TensorView> tensors;
    Metadata metadata;
    const char* message;
  };
  const std::vector<Case> cases = {
      {{{"labels", labels(good)}}, {}, "not a dataset file: it has no tensor \"images\""},
      {{{"images", pictures({4, 6})}}, {}, "\"images\" is u8(4,6), not u8 (N,H,W,C)"},
      {{{"images", {DType::f32, {1, 1, 2, 3}, std::as_bytes(std::span(bytes))}}}, {}, "\"images\" is f32(1,1,2,3)"},
      {{{"images", pictures({0, 2, 2, 3})}}, {}, "\"images\" is empty: (0,2,2,3)"},
      {{{"images", pictures({2, 0, 2, 3})}}, {}, "\"images\" is empty"},
      {{{"images", images}, {"labels", labels(three)}}, {}, "\"labels\" is i32(3), not i32(2)"},
      {{{"images", images}, {"labels", pictures({2})}}, {}, "\"labels\" is u8(2)"},
      {{{"images", images}, {"labels", labels(negative)}}, {}, "picture 1 has the label -1"},
      {{{"images", images}, {"labels", labels(good)}},
       {{"classes", "[\"one\"]"}},
       "picture 1 has the label 1, but there are 1 classes"},
      {{{"images", images}}, {{"classes", "[1]"}}, "\"classes\" is not a JSON array of names"},
      {{{"images", images}}, {{"classes", "[\"a\""}}, "\"classes\" is not a JSON array of names"},
  };
  const TemporaryFolder folder;
  for (const Case& one : cases) {
    write_safetensors(folder / "dataset", one.tensors, one.metadata);
    const std::string message = message_of<InputError>([&] { Dataset(folder / "dataset"); });
    EXPECT_TRUE(says(message, one.message));
    EXPECT_TRUE(says(message, (folder / "dataset").string()));
  }
  write_safetensors(folder / "dataset", {{"images", images}, {"labels", labels(good)}}, {{"classes", "[\"a\",\"b\",\"c\"]"}});
  const Dataset dataset(folder / "dataset");
  EXPECT_EQ(dataset.classes(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(dataset.class_count(), 3);
  EXPECT_EQ(dataset.shape(), (Shape{2, 2, 2, 3}));
}

}  // namespace
}  // namespace gannet
