// Counter-based draws: a block of four words per lane. Bound by arithmetic (ten rounds of two wide products a block).
#include "kernels/cpu/random.h"

#include "kernels/cpu/simd.h"
#include "kernels/philox.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

// Rounded twice, whatever the compiler may fuse elsewhere.
inline Float transform(Float number, const Draw& draw) { return number * Float(draw.scale) + Float(draw.a); }

inline void store_narrow(Bf16* to, const float* from, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + Float::width <= count; i += Float::width) store(to + i, load(from + i));
  if (i < count) {
    const int left = static_cast<int>(count - i);
    store_partial(to + i, load_partial(from + i, left), left);
  }
}

}  // namespace

void draw(const Draw& draw, std::int64_t begin, std::int64_t end, void* output) {
  constexpr int made_at_once = 4 * Float::width;
  static_assert(random_group % made_at_once == 0);
  // store_interleaved() transposes four lanes at a time: the lane 4 g + j of the four vectors becomes elements 4 g … 4 g + 3 of
  // the j-th vector stored. So that the blocks follow each other in memory, lane 4 g + j works on block j * width / 4 + g.
  std::uint32_t order[Float::width];
  for (int lane = 0; lane < Float::width; ++lane) {
    order[lane] = static_cast<std::uint32_t>(lane % 4 * (Float::width / 4) + lane / 4);
  }
  // What is made at once begins at multiples of its number in the draw, and may begin before and end after what is wanted.
  const bool aligned = draw.first % made_at_once == 0;
  for (std::int64_t i = begin - (draw.first + begin) % made_at_once; i < end; i += made_at_once) {
    const Word counter = load(order) + Word(static_cast<std::uint32_t>((draw.first + i) / 4));
    const philox::Block<Word> block =
        philox::generate<Word>({{counter, Word(draw.stream), Word(draw.step), Word(0u)}}, draw.key_low, draw.key_high);
    Float number[4];
    if (draw.distribution == Random::Distribution::normal) {
      philox::normal_pair(block.word[0], block.word[1], number[0], number[1]);
      philox::normal_pair(block.word[2], block.word[3], number[2], number[3]);
    } else {
      for (int k = 0; k < 4; ++k) number[k] = philox::uniform<Float>(block.word[k]);
    }
    for (int k = 0; k < 4; ++k) number[k] = transform(number[k], draw);
    const bool whole = i >= begin && i + made_at_once <= end, narrow = draw.type == DType::bf16;
    if (whole && aligned && !narrow) {
      store_interleaved(static_cast<float*>(output) + i, number[0], number[1], number[2], number[3]);
      continue;
    }
    float made[made_at_once];
    store_interleaved(made, number[0], number[1], number[2], number[3]);
    const std::int64_t from = i > begin ? i : begin, count = (i + made_at_once < end ? i + made_at_once : end) - from;
    if (narrow)
      store_narrow(static_cast<Bf16*>(output) + from, made + (from - i), count);
    else
      std::memcpy(static_cast<float*>(output) + from, made + (from - i), static_cast<std::size_t>(count) * sizeof(float));
  }
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
