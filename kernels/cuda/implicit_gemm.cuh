// The main loop: tiles of both operands are on their way to shared memory by cp.async while the warps multiply earlier ones.
// One barrier an iteration. On tensor cores the loop is unrolled by its stages, so that places in shared memory are part of
// the instructions. With 64x64 a warp, 64 mma.sync stand against 16 matrix loads and 8 to 12 copies; what limits it is the
// tensor core (bf16, tf32) or the FMA pipe (f32), except where the picture is small.
#pragma once

#include "kernels/cuda/implicit_gemm_store.cuh"

namespace gannet::kernels::cuda {

// The operands of a form: A, B. Pairs: those of implicit_gemm_pairs.cuh.
template <ProductForm Form, typename T, int M, int N, int BytesA, int BytesB, int Threads, bool Pairs>
struct Operands;
template <typename T, int M, int N, int BytesA, int BytesB, int Threads, bool Pairs>
struct Operands<ProductForm::fprop, T, M, N, BytesA, BytesB, Threads, Pairs> {
  using A = std::conditional_t<Pairs, GatheredLinePairs<T, M, Threads, false>, GatheredLines<T, M, BytesA, Threads, false>>;
  using B = std::conditional_t<Pairs, MatrixLinePairs<T, N, Threads>, MatrixLines<T, N, BytesB, Threads>>;
};
template <typename T, int M, int N, int BytesA, int BytesB, int Threads, bool Pairs>
struct Operands<ProductForm::dgrad, T, M, N, BytesA, BytesB, Threads, Pairs> {
  using A = std::conditional_t<Pairs, GatheredLinePairs<T, M, Threads, true>, GatheredLines<T, M, BytesA, Threads, true>>;
  using B = std::conditional_t<Pairs, FilterColumnPairs<T, N, Threads>, FilterColumns<T, N, BytesB, Threads>>;
};
template <typename T, int M, int N, int BytesA, int BytesB, int Threads, bool Pairs>
struct Operands<ProductForm::wgrad, T, M, N, BytesA, BytesB, Threads, Pairs> {
  using A = std::conditional_t<Pairs, MatrixColumnPairs<T, M, Threads>, MatrixColumns<T, M, BytesA, Threads>>;
  using B = GatheredColumns<T, N, BytesB, Threads>;
};
template <typename T, int M, int N, int BytesA, int BytesB, int Threads, bool Pairs>
struct Operands<ProductForm::transposed, T, M, N, BytesA, BytesB, Threads, Pairs> {
  using A = MatrixColumns<T, M, BytesA, Threads>;
  using B = MatrixLines<T, N, BytesB, Threads>;
};

template <ProductForm Form, ProductMath Math, ProductAccess Access, int BytesA, int BytesB, int M, int N, int WarpM, int WarpN,
          int Stages, int Blocks>
struct ProductConfig {
  using Element = std::conditional_t<Math == ProductMath::bf16, __nv_bfloat16, float>;
  static constexpr ProductForm form = Form;
  static constexpr ProductMath math = Math;
  static constexpr int m = M, n = N, stages = Stages, blocks = Blocks, inner = inner_bytes / sizeof(Element);
  static constexpr int threads = M / WarpM * (N / WarpN) * 32;
  static constexpr bool pairs = Access == ProductAccess::pairs;
  static constexpr int unroll = pairs ? Stages * (1 + Stages % 2) : 1;  // even
  static constexpr bool inner_major_a = Form == ProductForm::fprop || Form == ProductForm::dgrad;
  static constexpr bool inner_major_b = Form == ProductForm::fprop || Form == ProductForm::transposed;

  using A = typename Operands<Form, Element, M, N, BytesA, BytesB, threads, pairs>::A;
  using B = typename Operands<Form, Element, M, N, BytesA, BytesB, threads, pairs>::B;
  using Product = std::conditional_t<Math == ProductMath::f32, FloatProduct<inner_major_a, inner_major_b, M, N, WarpM, WarpN>,
                                     TensorProduct<Element, inner_major_a, inner_major_b, M, N, WarpM, WarpN>>;

  // First the table of wgrad, then the stages; in the end these hold the result.
  static constexpr int table_bytes = Form == ProductForm::wgrad ? 2 * threads * 8 : 0;
  static constexpr int a_bytes = M * inner_bytes, stage_bytes = (M + N) * inner_bytes;
  static constexpr int staging_bytes = Staging<ProductConfig>::bytes;
  static constexpr int shared_bytes =
      table_bytes + (Stages * stage_bytes > staging_bytes ? Stages * stage_bytes : staging_bytes);
};

// What a block computes.
struct BlockPlace {
  int group, tile, split, pixel_class, first_row, first_column;  // tile: of its group

  template <typename Config>
  __device__ static BlockPlace find(const ImplicitGemm& product) {
    const int number = product.groups[0].has(blockIdx.x) ? 0 : 1;
    const TileGroup& group = product.groups[number];
    std::uint32_t tile = blockIdx.x - group.first_block;
    const auto split = static_cast<int>(group.tiles.divide(tile));
    std::uint32_t among = static_cast<std::uint32_t>(group.first_tile) + tile, column = product.together.divide(among),
                  row = product.column_tiles.divide(column);
    const auto apart = product.row_tiles.divide(row);
    return {number,
            static_cast<int>(tile),
            split,
            static_cast<int>(apart + among),
            static_cast<int>(row) * Config::m,
            static_cast<int>(column) * Config::n};
  }
};

template <typename Config>
__device__ __forceinline__ void multiply_tile(const ImplicitGemm& product, char* shared) {
  constexpr ProductForm form = Config::form;
  constexpr int stages = Config::stages, stage_bytes = Config::stage_bytes, unroll = Config::unroll;
  __shared__ BlockPlace place;  // for the end: the main loop leaves no register for it
  const auto now = BlockPlace::find<Config>(product);
  const PixelClass& pixels = product.pixel_class[now.pixel_class];
  const auto rows_of = [&](const PixelClass& rows) {
    return form == ProductForm::fprop || form == ProductForm::dgrad ? rows.rows : product.m;
  };
  if (now.first_row >= rows_of(pixels)) return;  // a class with fewer pixels than the largest

  int iterations = (product.inner + Config::inner - 1) / Config::inner;
  if constexpr (form == ProductForm::dgrad) iterations *= pixels.taps_h * pixels.taps_w;
  constexpr int unit = Config::pairs ? 2 : 1;
  const int splits = product.groups[now.group].splits;
  const int units = iterations / unit, share = units / splits, longer = units % splits;
  const int begin = (now.split * share + min(now.split, longer)) * unit;
  int left = (share + (now.split < longer ? 1 : 0)) * unit;

  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) place = now;
  typename Config::A a(product, pixels, now.first_row, begin, thread);
  auto b = [&] {
    if constexpr (form == ProductForm::wgrad) {
      return typename Config::B(product, pixels, now.first_column, begin, thread, shared);
    } else {
      return typename Config::B(product, pixels, now.first_column, begin, thread);
    }
  }();
  if constexpr (form == ProductForm::wgrad) __syncthreads();

  const std::uint32_t a_tile = shared_address(shared) + Config::table_bytes, b_tile = a_tile + Config::a_bytes;
  // The tiles of iteration `index` to `there` + the stage that it has in an unrolled loop.
  const auto bring = [&](auto index, auto stage, int there) {
    constexpr bool second = index % 2 == 1;
    a.template issue<stage, second>(a_tile + there);
    if constexpr (form == ProductForm::dgrad && Config::pairs) {
      b.template issue<stage, second>(b_tile + there, a);
    } else {
      b.template issue<stage, second>(b_tile + there);
    }
  };
  unrolled<stages - 1>([&](auto index) {
    if (index < left) bring(index, std::integral_constant<int, index * stage_bytes>(), 0);
    commit_copies();
  });

  typename Config::Product warp(thread, a_tile, b_tile);
  // The last iteration's stage is the one to be filled next. Both in bytes from the first; 0 where the loop is unrolled.
  int read = 0, write = (stages - 1) * stage_bytes;
  const auto iterate = [&](auto index) {
    constexpr int next = index + stages - 1, here = unroll == 1 ? 0 : index % stages * stage_bytes,
                  then = unroll == 1 ? 0 : next % stages * stage_bytes;
    wait_for_copies<stages - 2>();
    __syncthreads();  // this iteration's tiles are there, and nobody reads those of the last any more
    if (left >= stages)
      bring(std::integral_constant<int, next>(), std::integral_constant<int, then>(), unroll == 1 ? write : 0);
    commit_copies();
    warp.template multiply<here>(unroll == 1 ? read : 0);
    if constexpr (unroll == 1) {
      write = read;
      read += stage_bytes;
      if (read == stages * stage_bytes) read = 0;
    }
    return --left > 0;
  };
  if (left > 0) {
    const auto round = [&]<int... I>(std::integer_sequence<int, I...>) {
      return (iterate(std::integral_constant<int, I>()) && ...);
    };
#pragma unroll 1
    while (round(std::make_integer_sequence<int, unroll>())) {
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  const TileGroup& group = product.groups[place.group];
  if (group.splits > 1 && !meet_splits<Config>(group, warp, reinterpret_cast<unsigned int*>(shared), place.tile, place.split))
    return;
  const PixelClass& stored = product.pixel_class[place.pixel_class];
  store_result<Config>(product, stored, warp, shared + Config::table_bytes, place.first_row, place.first_column,
                       rows_of(stored));
}

template <typename Config>
__global__ void __launch_bounds__(Config::threads, Config::blocks)
    multiply_tiles(const __grid_constant__ ImplicitGemm product) {
  extern __shared__ __align__(128) char shared[];
  multiply_tile<Config>(product, shared);
}

// Blocks of two products next to each other on a multiprocessor.
template <typename First, typename Second>
__global__ void __launch_bounds__(First::threads, First::blocks)
    multiply_tiles_of_two(const __grid_constant__ ProductPair products) {
  static_assert(First::threads == Second::threads && First::blocks == Second::blocks);
  extern __shared__ __align__(128) char shared[];
  if (products.first.groups[0].has(blockIdx.x) || products.first.groups[1].has(blockIdx.x)) {
    multiply_tile<First>(products.first, shared);
  } else {
    multiply_tile<Second>(products.second, shared);
  }
}

template <typename... Configs>
ProductKernel prepare() {
  ProductKernel kernel;
  if constexpr (sizeof...(Configs) == 1) {
    kernel.function = reinterpret_cast<const void*>(&multiply_tiles<Configs...>);
  } else {
    kernel.function = reinterpret_cast<const void*>(&multiply_tiles_of_two<Configs...>);
  }
  ((kernel.shared_bytes = kernel.shared_bytes > Configs::shared_bytes ? kernel.shared_bytes : Configs::shared_bytes,
    kernel.threads = Configs::threads),
   ...);
  GANNET_CUDA(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, kernel.shared_bytes));
  return kernel;
}

// find<Form>() for the form that is known only now.
template <typename Find>
ProductKernel with_form(ProductForm form, const Find& find) {
  switch (form) {
    case ProductForm::fprop:
      return find.template operator()<ProductForm::fprop>();
    case ProductForm::dgrad:
      return find.template operator()<ProductForm::dgrad>();
    case ProductForm::wgrad:
      return find.template operator()<ProductForm::wgrad>();
    case ProductForm::transposed:
      return find.template operator()<ProductForm::transposed>();
  }
  return {};
}

}  // namespace gannet::kernels::cuda
