// Evaluates a chain for one tile at a time: an interpreter whose registers are tiles in the first-level cache, so that its
// dispatch is paid once per few hundred elements and memory is read and written once.
#pragma once

#include "kernels/cpu/chain.h"
#include "kernels/cpu/simd_math.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

template <class Function>
inline void for_lanes(float* result, const float* a, std::int64_t n, Function function) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(result + i, function(load(a + i)));
  if (i < n) store_partial(result + i, function(load_partial(a + i, static_cast<int>(n - i))), static_cast<int>(n - i));
}

template <class Function>
inline void for_lanes(float* result, const float* a, const float* b, std::int64_t n, Function function) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(result + i, function(load(a + i), load(b + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_partial(result + i, function(load_partial(a + i, rest), load_partial(b + i, rest)), rest);
  }
}

template <class To, class From>
inline void convert(To* to, const From* from, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(to + i, load(from + i));
  if (i < n) store_partial(to + i, load_partial(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

inline void fill(float* to, float value, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) store(to + i, Float(value));
  if (i < n) store_partial(to + i, Float(value), static_cast<int>(n - i));
}

inline void apply(const ChainStep& step, float* result, const float* a, const float* b, std::int64_t n) {
  const Float alpha(step.alpha), beta(step.beta), zero(0.0f), one(1.0f);
  switch (step.op) {
    case PointwiseOp::constant:
      return fill(result, step.alpha, n);
    case PointwiseOp::affine:
      return for_lanes(result, a, n, [=](Float x) { return fma(alpha, x, beta); });
    case PointwiseOp::add:
      return for_lanes(result, a, b, n, [](Float x, Float y) { return x + y; });
    case PointwiseOp::subtract:
      return for_lanes(result, a, b, n, [](Float x, Float y) { return x - y; });
    case PointwiseOp::multiply:
      return for_lanes(result, a, b, n, [](Float x, Float y) { return x * y; });
    case PointwiseOp::divide:
      return for_lanes(result, a, b, n, [](Float x, Float y) { return x / y; });
    case PointwiseOp::maximum:  // NaN if either is
      return for_lanes(result, a, b, n, [](Float x, Float y) { return select(is_nan(x), x, maximum(x, y)); });
    case PointwiseOp::minimum:
      return for_lanes(result, a, b, n, [](Float x, Float y) { return select(is_nan(x), x, minimum(x, y)); });
    case PointwiseOp::greater:
      return for_lanes(result, a, b, n, [=](Float x, Float y) { return select(x > y, one, zero); });
    case PointwiseOp::exp:
      return for_lanes(result, a, n, [](Float x) { return exp(x); });
    case PointwiseOp::log:
      return for_lanes(result, a, n, [](Float x) { return log(x); });
    case PointwiseOp::sqrt:
      return for_lanes(result, a, n, [](Float x) { return square_root(x); });
    case PointwiseOp::tanh:
      return for_lanes(result, a, n, [](Float x) { return tanh(x); });
    case PointwiseOp::sigmoid:
      return for_lanes(result, a, n, [](Float x) { return sigmoid(x); });
    case PointwiseOp::abs:
      return for_lanes(result, a, n, [](Float x) { return absolute(x); });
    case PointwiseOp::sign:  // 0 and NaN stay
      return for_lanes(result, a, n, [=](Float x) { return select(x > zero, one, select(x < zero, Float(-1.0f), x)); });
    case PointwiseOp::reciprocal:
      return for_lanes(result, a, n, [=](Float x) { return one / x; });
    case PointwiseOp::softplus:
      return for_lanes(result, a, n, [](Float x) { return softplus(x); });
    case PointwiseOp::leaky_relu:
      return for_lanes(result, a, n, [=](Float x) { return leaky_relu(x, alpha); });
    case PointwiseOp::leaky_step:
      return for_lanes(result, a, n, [=](Float x) { return select(x > zero, one, alpha); });
  }
}

class ChainTile {
 public:
  ChainTile(const Chain& chain, const void* const* inputs, void* const* outputs)
      : chain_(chain), inputs_(inputs), outputs_(outputs) {
    for (int i = 0; i < chain.inputs; ++i) filled_[i].n = 0;
    for (int s = 0; s < chain.steps; ++s) {
      // Constants keep a buffer of their own, filled once.
      if (chain.step[s].op == PointwiseOp::constant) fill(buffer(chain.step[s].buffer), chain.step[s].alpha, chain.tile);
    }
  }
  ChainTile(const ChainTile&) = delete;
  ChainTile& operator=(const ChainTile&) = delete;

  // Computes all registers for elements [p, p + n), n <= tile, and stores the outputs.
  void evaluate(std::int64_t p, std::int64_t n) {
    for (int i = 0; i < chain_.inputs; ++i) {
      const ChainInput& input = chain_.input[i];
      if (input.full) prefetch(inputs_[i], (p + n) * input.element_bytes, n * input.element_bytes);
      register_[i] = read_input(i, p, n);
    }
    for (int s = 0; s < chain_.steps; ++s) {
      const ChainStep& step = chain_.step[s];
      float* result = step.output < 0 ? buffer(step.buffer) : static_cast<float*>(outputs_[step.output]) + p;
      if (step.op != PointwiseOp::constant) {
        const int operands_end = chain_.inputs + s;  // operands that an operation lacks are register 0, which may not be one
        apply(step, result, step.a < operands_end ? register_[step.a] : nullptr,
              step.b < operands_end ? register_[step.b] : nullptr, n);
      }
      register_[chain_.inputs + s] = result;
    }
    for (int o = 0; o < chain_.outputs; ++o) {
      if (!chain_.output[o].written) write_output(o, p, n);
    }
  }

  const float* values(int index) const { return register_[index]; }

 private:
  // Asks for the next tile while this one is computed: it would otherwise wait for memory and memory for it, in turns.
  static void prefetch(const void* data, std::int64_t begin, std::int64_t bytes) {
    const char* line = static_cast<const char*>(data) + begin;
    for (std::int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(line + i);
  }
  float* buffer(int index) { return arena_ + static_cast<std::int64_t>(index) * chain_.tile; }

  const float* read_input(int i, std::int64_t p, std::int64_t n) {
    const ChainInput& input = chain_.input[i];
    if (input.direct) return static_cast<const float*>(inputs_[i]) + p;
    float* tile = buffer(input.buffer);
    if (input.full) {
      switch (input.type) {
        case DType::bf16:
          convert(tile, static_cast<const Bf16*>(inputs_[i]) + p, n);
          break;
        case DType::i32:
          convert(tile, static_cast<const std::int32_t*>(inputs_[i]) + p, n);
          break;
        case DType::u8:
          convert(tile, static_cast<const std::uint8_t*>(inputs_[i]) + p, n);
          break;
        default:
          convert(tile, static_cast<const float*>(inputs_[i]) + p, n);
          break;
      }
      return tile;
    }
    switch (input.type) {
      case DType::bf16:
        return broadcast(i, static_cast<const Bf16*>(inputs_[i]), tile, p, n);
      case DType::i32:
        return broadcast(i, static_cast<const std::int32_t*>(inputs_[i]), tile, p, n);
      case DType::u8:
        return broadcast(i, static_cast<const std::uint8_t*>(inputs_[i]), tile, p, n);
      default:
        return broadcast(i, static_cast<const float*>(inputs_[i]), tile, p, n);
    }
  }

  void write_output(int o, std::int64_t p, std::int64_t n) {
    const float* values = register_[chain_.output[o].result];
    switch (chain_.output[o].type) {
      case DType::bf16:
        return convert(static_cast<Bf16*>(outputs_[o]) + p, values, n);
      case DType::i32:
        return convert(static_cast<std::int32_t*>(outputs_[o]) + p, values, n);
      case DType::u8:
        return convert(static_cast<std::uint8_t*>(outputs_[o]) + p, values, n);
      default:
        return convert(static_cast<float*>(outputs_[o]) + p, values, n);
    }
  }

  static float element(const float* p) { return *p; }
  static float element(const std::int32_t* p) { return static_cast<float>(*p); }
  static float element(const std::uint8_t* p) { return static_cast<float>(*p); }
  static float element(const Bf16* p) {
    const std::uint32_t bits = static_cast<std::uint32_t>(p->bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  static const float* in_place(const float* p) { return p; }
  template <class T>
  static const float* in_place(const T*) {
    return nullptr;
  }

  // The input's values for elements [p, p + n). Along the last axis they stay the same, or follow each other and then, along
  // the axis before, come again: a tile inside such a repetition, at the same place in it as the last one, has the same values.
  template <class T>
  const float* broadcast(int i, const T* data, float* tile, std::int64_t p, std::int64_t n) {
    const ChainInput& input = chain_.input[i];
    const int last = input.axes - 1;
    const bool pattern = last > 0 && input.step[last] != 0 && input.step[last - 1] == 0;
    const std::int64_t run = input.extent[last];
    const std::int64_t cover = pattern ? run * input.extent[last - 1] : run;
    const bool repeats = pattern || input.step[last] == 0;

    const std::int64_t start = p - p % cover;
    const std::int64_t phase = pattern ? p % run : 0;
    Filled& filled = filled_[i];
    const bool inside = repeats && p + n <= start + cover;
    if (inside && filled.start == start && filled.phase == phase && n <= filled.n) return tile;
    filled = {start, phase, inside ? n : 0};

    // Where p lies along each axis.
    std::int64_t at[max_rank];
    std::int64_t rest = p, offset = 0;
    for (int d = last; d >= 0; --d) {
      at[d] = rest % input.extent[d];
      rest /= input.extent[d];
      offset += at[d] * input.step[d];
    }
    if (input.step[last] == 1 && at[last] + n <= run) {
      if (const float* values = in_place(data + offset)) {
        filled.n = 0;
        return values;
      }
    }
    for (std::int64_t done = 0; done < n;) {
      const std::int64_t left = n - done;
      std::int64_t count;
      if (pattern) {
        const std::int64_t passed = at[last - 1] * run + at[last];
        count = left < cover - passed ? left : cover - passed;
        repeat(tile + done, data + offset - at[last] * input.step[last], input.step[last], at[last], run, count);
        offset -= at[last] * input.step[last];
        at[last] = 0;
        at[last - 1] = 0;
        advance(input, last - 2, at, offset);
      } else {
        count = left < run - at[last] ? left : run - at[last];
        if (input.step[last] == 0) {
          fill(tile + done, element(data + offset), count);
        } else {
          for (std::int64_t j = 0; j < count; ++j) tile[done + j] = element(data + offset + j * input.step[last]);
        }
        offset -= at[last] * input.step[last];
        at[last] = 0;
        advance(input, last - 1, at, offset);
      }
      done += count;
    }
    return tile;
  }

  // Moves to the next index of axes 0 … axis.
  static void advance(const ChainInput& input, int axis, std::int64_t* at, std::int64_t& offset) {
    for (int d = axis; d >= 0; --d) {
      offset += input.step[d];
      if (++at[d] < input.extent[d]) return;
      offset -= at[d] * input.step[d];
      at[d] = 0;
    }
  }

  // `count` values of a row of `run`, from its element `phase` on and again and again.
  template <class T>
  static void repeat(float* to, const T* row, std::int64_t step, std::int64_t phase, std::int64_t run, std::int64_t count) {
    const std::int64_t once = count < run ? count : run;
    std::int64_t j = phase;
    for (std::int64_t k = 0; k < once; ++k) {
      to[k] = element(row + j * step);
      if (++j == run) j = 0;
    }
    for (std::int64_t done = once; done < count;) {
      const std::int64_t more = done < count - done ? done : count - done;
      std::memcpy(to + done, to, static_cast<std::size_t>(more) * sizeof(float));
      done += more;
    }
  }

  struct Filled {
    std::int64_t start, phase, n;  // n 0: nothing
  };

  const Chain& chain_;
  const void* const* inputs_;
  void* const* outputs_;
  Filled filled_[max_chain_inputs];
  const float* register_[max_chain_registers];
  alignas(64) float arena_[chain_arena];
};

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
