// Batch normalisation over lines of rows. Two flops per byte and less: the time is that of memory, so the sums of a line stay
// in the first-level cache and are added up in double every few lines.
#include "kernels/cpu/batch_norm.h"

#include "kernels/cpu/simd_math.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

constexpr std::int64_t lines_of_a_sum = 64;

// A vector's lanes that exist: all, or the first n.
struct All {};
inline Float keep(Float x, All) { return x; }
inline Float keep(Float x, int n) { return select(first(n), x, Float(0.0f)); }
template <class T>
inline Float take(const T* p, All) {
  return load(p);
}
template <class T>
inline Float take(const T* p, int n) {
  return load_partial(p, n);
}
template <class T>
inline void put(T* p, Float x, All) {
  store(p, x);
}
template <class T>
inline void put(T* p, Float x, int n) {
  store_partial(p, x, n);
}

// body(i, lanes) for the vectors of n elements, i being the first of each.
template <class Body>
inline void for_vectors(std::int64_t n, Body body) {
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) body(i, All{});
  if (i < n) body(i, static_cast<int>(n - i));
}

// body(start of the line, lane, lanes) for all vectors of a span.
template <class Body>
inline void for_span(const Span& span, Body body) {
  for (std::int64_t line = 0; line < span.lines; ++line) {
    for_vectors(span.length, [&](std::int64_t i, auto lanes) { body(line * span.length, i, lanes); });
  }
  for_vectors(span.rest, [&](std::int64_t i, auto lanes) { body(span.lines * span.length, i, lanes); });
}

// The same, in pieces of few lines, after each of which drain() is called.
template <class Body, class Drain>
inline void for_pieces(const Span& span, Body body, Drain drain) {
  for (std::int64_t line = 0; line < span.lines; line += lines_of_a_sum) {
    const std::int64_t lines = span.lines - line < lines_of_a_sum ? span.lines - line : lines_of_a_sum;
    const std::int64_t start = line * span.length;
    for_span({lines, span.length, 0}, [&](std::int64_t at, std::int64_t i, auto lanes) { body(start + at, i, lanes); });
    drain();
  }
  if (span.rest > 0) {
    const std::int64_t start = span.lines * span.length;
    for_vectors(span.rest, [&](std::int64_t i, auto lanes) { body(start, i, lanes); });
    drain();
  }
}

// Two sums per lane, kept as floats for a few lines. Arrays of lanes are padded to whole vectors.
class LaneSums {
 public:
  LaneSums(float* lanes, std::int64_t length)
      : a_(lanes), padded_((length + Float::width - 1) / Float::width * Float::width), b_(lanes + padded_) {
    for (std::int64_t i = 0; i < 2 * padded_; i += Float::width) store(lanes + i, Float(0.0f));
  }
  void add(std::int64_t lane, Float a, Float x, Float y) {  // a, and x * y
    store(a_ + lane, load(a_ + lane) + a);
    store(b_ + lane, fma(x, y, load(b_ + lane)));
  }
  void drain(double* a, double* b) {
    for (std::int64_t i = 0; i < padded_; i += Float::width) {
      add_lanes(a + i, load(a_ + i));
      add_lanes(b + i, load(b_ + i));
      store(a_ + i, Float(0.0f));
      store(b_ + i, Float(0.0f));
    }
  }

 private:
  float* a_;
  std::int64_t padded_;
  float* b_;
};

template <class T>
void sum_moments(const Span& span, const T* x, const float* shift, float* lanes, double* sums, double* squares) {
  LaneSums lane_sums(lanes, span.length);
  for_pieces(
      span,
      [&](std::int64_t at, std::int64_t i, auto present) {
        const Float d = keep(take(x + at + i, present) - load(shift + i), present);
        lane_sums.add(i, d, d, d);
      },
      [&] { lane_sums.drain(sums, squares); });
}

template <Activation::Kind kind, class T>
void normalise(const Span& span, const T* x, Float slope, const NormLanes& norm, T* y) {
  for_span(span, [&](std::int64_t at, std::int64_t i, auto present) {
    const Float z = fma(take(x + at + i, present) - load(norm.mean + i), load(norm.scale + i), load(norm.beta + i));
    put(y + at + i, activate<kind>(z, slope), present);
  });
}

template <Activation::Kind kind>
inline Float upstream(Float centred, Float dy, Float slope, const NormLanes& norm, std::int64_t i) {
  if constexpr (kind == Activation::Kind::none) return dy;
  return dy * activation_slope<kind>(fma(centred, load(norm.scale + i), load(norm.beta + i)), slope);
}

template <Activation::Kind kind, class T>
void sum_gradients(const Span& span, const T* x, const T* dy, Float slope, const NormLanes& norm, float* lanes, double* sums,
                   double* products) {
  LaneSums lane_sums(lanes, span.length);
  for_pieces(
      span,
      [&](std::int64_t at, std::int64_t i, auto present) {
        const Float centred = take(x + at + i, present) - load(norm.mean + i);
        const Float dz = upstream<kind>(centred, take(dy + at + i, present), slope, norm, i);
        lane_sums.add(i, dz, dz, centred);  // lanes that are not present have dy = 0
      },
      [&] { lane_sums.drain(sums, products); });
}

template <Activation::Kind kind, class T>
void normalise_gradient(const Span& span, const T* x, const T* dy, Float slope, const NormLanes& norm, T* dx) {
  for_span(span, [&](std::int64_t at, std::int64_t i, auto present) {
    const Float centred = take(x + at + i, present) - load(norm.mean + i);
    const Float dz = upstream<kind>(centred, take(dy + at + i, present), slope, norm, i);
    const Float through_statistics = fma(centred, load(norm.slope_x + i), load(norm.slope_mean + i));
    put(dx + at + i, fma(dz, load(norm.scale + i), negative(through_statistics)), present);
  });
}

template <Activation::Kind kind>
struct KindConstant {
  static constexpr Activation::Kind value = kind;
};

// body(constant of the kind, a null pointer of the element type)
template <class Body>
void for_type_and_kind(DType type, Activation::Kind kind, Body body) {
  const auto typed = [&](auto constant) {
    if (type == DType::bf16) {
      body(constant, static_cast<Bf16*>(nullptr));
    } else {
      body(constant, static_cast<float*>(nullptr));
    }
  };
  switch (kind) {
    case Activation::Kind::none:
      return typed(KindConstant<Activation::Kind::none>{});
    case Activation::Kind::leaky_relu:
      return typed(KindConstant<Activation::Kind::leaky_relu>{});
    case Activation::Kind::tanh:
      return typed(KindConstant<Activation::Kind::tanh>{});
    case Activation::Kind::sigmoid:
      return typed(KindConstant<Activation::Kind::sigmoid>{});
  }
}

template <class T>
const T* as(const void* p, T*) {
  return static_cast<const T*>(p);
}
template <class T>
T* as(void* p, T*) {
  return static_cast<T*>(p);
}

}  // namespace

void sum_moments(DType type, const Span& span, const void* x, const float* shift, float* lanes, double* sums, double* squares) {
  if (type == DType::bf16) {
    sum_moments(span, static_cast<const Bf16*>(x), shift, lanes, sums, squares);
  } else {
    sum_moments(span, static_cast<const float*>(x), shift, lanes, sums, squares);
  }
}

void normalise(DType type, const Span& span, const void* x, const Activation& activation, const NormLanes& norm, void* y) {
  for_type_and_kind(type, activation.kind, [&](auto kind, auto* t) {
    normalise<decltype(kind)::value>(span, as(x, t), Float(activation.slope), norm, as(y, t));
  });
}

void sum_gradients(DType type, const Span& span, const void* x, const void* dy, const Activation& activation,
                   const NormLanes& norm, float* lanes, double* sums, double* products) {
  for_type_and_kind(type, activation.kind, [&](auto kind, auto* t) {
    sum_gradients<decltype(kind)::value>(span, as(x, t), as(dy, t), Float(activation.slope), norm, lanes, sums, products);
  });
}

void normalise_gradient(DType type, const Span& span, const void* x, const void* dy, const Activation& activation,
                        const NormLanes& norm, void* dx) {
  for_type_and_kind(type, activation.kind, [&](auto kind, auto* t) {
    normalise_gradient<decltype(kind)::value>(span, as(x, t), as(dy, t), Float(activation.slope), norm, as(dx, t));
  });
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET
