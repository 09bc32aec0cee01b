// mma.sync: fragments to and from a tile of words (PTX ISA, "Matrix Fragments for mma"), and the multiplies that are not made
// of tiles.
#include "isa/matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"
#include "isa/matrix_vector.h"
#include "machine/checks.h"
#include "machine/options.h"

namespace sim::matrix {
namespace {

struct Fragments {
  const Location *d, *a, *b, *c;
};
Fragments fragments_of(const Instruction& in, const Counts& counts) {
  const Location* a = in.list + counts.d;
  return {in.list, a, a + counts.a, a + counts.a + counts.b};
}

}  // namespace

Counts counts_of(const Form& form) {
  const auto registers = [](int elements, Element element) { return elements / 32 / per_word(element); };
  if (form.a == Element::f16 && form.m == 8) return {2, 2, form.c == Element::f16 ? 4 : 8, form.d == Element::f16 ? 4 : 8};
  return {registers(form.m * form.k, form.a), registers(form.n * form.k, form.b), registers(form.m * form.n, form.c),
          registers(form.m * form.n, form.d)};
}

// Lane 4 g + t of register r of A has words t + 4 (r / 2) of row g + 8 (r % 2) where there are 16 rows; of B, word t + 4 r of
// column g.
void read_operands(const Warp& w, const Form& form, const Location* a, const Location* b, Tile& tile) {
  const Counts counts = counts_of(form);
  const bool tall = form.m == 16;
  for (int r = 0; r < counts.a; ++r) {
    const int word = tall ? r / 2 * 4 : r * 4, row = tall ? r % 2 * 8 : 0;
    split_quads(w.at<std::uint32_t>(a[r]), &tile.a[word][row], Tile::kRows);
  }
  if (!tall) {
    for (int word = 0; word < counts.a * 4; ++word) std::fill_n(&tile.a[word][8], 8, 0u);
  }
  for (int r = 0; r < counts.b; ++r) split_quads(w.at<std::uint32_t>(b[r]), &tile.b[r * 4][0], Tile::kColumns);
}

// Register 2 h + i of C has column 2 t + i of row g + 8 h; packed f16, register h has both columns.
void read_accumulators(const Warp& w, const Form& form, Element element, const Location* c, Tile& tile) {
  constexpr int kStride = 2 * Tile::kRows;
  for (int h = 0; h < form.m / 8; ++h) {
    if (element != Element::f16) {
      for (int i = 0; i < 2; ++i) split_quads(w.at<std::uint32_t>(c[2 * h + i]), &tile.c[i][8 * h], kStride);
      continue;
    }
    split_quads(w.at<std::uint32_t>(c[h]), &tile.c[0][8 * h], kStride);
    for (int n = 0; n < Tile::kColumns; n += 2) {
      for (int g = 8 * h; g < 8 * h + 8; ++g) {
        tile.c[n + 1][g] = tile.c[n][g] >> 16;
        tile.c[n][g] &= 0xffff;
      }
    }
  }
  if (form.m == 8) {
    for (auto& column : tile.c) std::fill_n(&column[8], 8, 0u);
  }
}

void write_results(const Warp& w, const Form& form, Element element, const Location* d, Tile& tile) {
  constexpr int kStride = 2 * Tile::kRows;
  alignas(64) std::uint32_t lanes[kLanes];
  for (int h = 0; h < form.m / 8; ++h) {
    if (element == Element::f16) {
      for (int n = 0; n < Tile::kColumns; n += 2) {
        for (int g = 8 * h; g < 8 * h + 8; ++g) tile.c[n][g] |= tile.c[n + 1][g] << 16;
      }
      join_quads(lanes, &tile.c[0][8 * h], kStride);
      write_lanes(w.at<std::uint32_t>(d[h]), lanes, w.mask);
      continue;
    }
    for (int i = 0; i < 2; ++i) {
      join_quads(lanes, &tile.c[i][8 * h], kStride);
      write_lanes(w.at<std::uint32_t>(d[2 * h + i]), lanes, w.mask);
    }
  }
}

namespace {

void run_tile(Warp& w, const Instruction& in) {
  check_lanes(w, in);
  const Form& form = form_of(in);
  const Counts counts = counts_of(form);
  const Fragments at = fragments_of(in, counts);
  Tile tile;
  read_operands(w, form, at.a, at.b, tile);
  read_accumulators(w, form, form.c, at.c, tile);
  form.multiply(form, tile);
  write_results(w, form, form.d, at.d, tile);
}

}  // namespace

// The same places as in a tile, with one element a register: fused multiply-adds in the order of k.
void run_double(Warp& w, const Instruction& in) {
  check_lanes(w, in);
  const Form& form = form_of(in);
  const Counts counts = counts_of(form);
  const Fragments at = fragments_of(in, counts);
  const bool tall = form.m == 16;
  double a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < counts.a; ++r) a[t + 4 * (tall ? r / 2 : r)][g + (tall ? r % 2 * 8 : 0)] = w.at<double>(at.a[r])[lane];
    for (int r = 0; r < counts.b; ++r) b[t + 4 * r][g] = w.at<double>(at.b[r])[lane];
  }
  double results[4][kLanes];
  for (int i = 0; i < counts.c; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = w.at<double>(at.c[i])[lane];
      for (int k = 0; k < form.k; ++k) sum = std::fma(a[k][row], b[k][column], sum);
      results[i][lane] = std::isnan(sum) ? std::bit_cast<double>(0xfff8'0000'0000'0000u) : sum;
    }
  }
  for (int i = 0; i < counts.d; ++i) {
    double* d = w.at<double>(at.d[i]);
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((w.mask >> lane & 1u) != 0) d[lane] = results[i][lane];
    }
  }
}

namespace {

// m8n8k4 of f16: four multiplies, each by lanes q to q + 3 and q + 16 to q + 19. `flags` bit 0: A by columns, bit 1: B by rows.
void run_m8n8k4(Warp& w, const Instruction& in) {
  check_lanes(w, in);
  const Form& form = form_of(in);
  const Counts counts = counts_of(form);
  const Fragments at = fragments_of(in, counts);
  const auto half = [&](const Location* fragment, int lane, int i) {
    return w.at<std::uint16_t>(fragment[i / 2])[2 * lane + i % 2];
  };
  std::uint32_t results[8][kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int quad = lane & 12, high = lane / 16 * 4;
    for (int i = 0; i < 8; ++i) {
      // Where result i of the lane lies.
      const auto place = [&](Element element) -> std::pair<int, int> {
        if (element == Element::f16) return {lane % 4 + high, i};
        return {(lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)};
      };
      const auto [row, column] = place(form.d);
      std::uint32_t a[4], b[4];
      for (int k = 0; k < 4; ++k) {
        const int a_lane = quad + row / 4 * 16, b_lane = quad + column / 4 * 16;
        a[k] = (in.flags & 1) == 0 ? half(at.a, a_lane + row % 4, k) : half(at.a, a_lane + k, row % 4);
        b[k] = (in.flags & 2) == 0 ? half(at.b, b_lane + column % 4, k) : half(at.b, b_lane + k, column % 4);
      }
      std::uint32_t c;
      if (form.c == Element::f32) {
        c = w.at<std::uint32_t>(at.c[i])[lane];
      } else if (form.d == Element::f16) {
        c = half(at.c, lane, i);
      } else {  // the accumulator's element is in another lane and place
        c = half(at.c, quad + row / 4 * 16 + row % 4, column);
      }
      const bool expanded = in.more != 0;
      results[i][lane] = expanded ? dot_product_m8n8k4(form, a, b, c) : dot_product(form, a, b, c);
    }
  }
  for (int i = 0; i < 8; ++i) {
    if (form.d == Element::f32) {
      write_lanes(w.at<std::uint32_t>(at.d[i]), results[i], w.mask);
    } else if (i % 2 == 1) {
      for (int lane = 0; lane < kLanes; ++lane) results[i][lane] = results[i][lane] << 16 | results[i - 1][lane];
      write_lanes(w.at<std::uint32_t>(at.d[i / 2]), results[i], w.mask);
    }
  }
}

}  // namespace

void split_quads(const std::uint32_t* lanes, std::uint32_t* runs, int stride) {
#ifdef __AVX512F__
  const __m512i low = _mm512_load_si512(lanes), high = _mm512_load_si512(lanes + 16);
  const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29), two = _mm512_set1_epi32(2);
  const __m512i even = _mm512_permutex2var_epi32(low, first, high),
                odd = _mm512_permutex2var_epi32(low, _mm512_add_epi32(first, two), high);
  const __m256i parts[4] = {_mm512_castsi512_si256(even), _mm512_extracti64x4_epi64(even, 1), _mm512_castsi512_si256(odd),
                            _mm512_extracti64x4_epi64(odd, 1)};
#else
  // Pairs of neighbouring g side by side, then a transposition of four by four pairs.
  const __m256i pairs = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i p[4];
  for (int n = 0; n < 4; ++n)
    p[n] = _mm256_permutevar8x32_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(lanes + 8 * n)), pairs);
  const __m256i a = _mm256_unpacklo_epi64(p[0], p[1]), b = _mm256_unpackhi_epi64(p[0], p[1]);
  const __m256i c = _mm256_unpacklo_epi64(p[2], p[3]), d = _mm256_unpackhi_epi64(p[2], p[3]);
  const __m256i parts[4] = {_mm256_permute2x128_si256(a, c, 0x20), _mm256_permute2x128_si256(b, d, 0x20),
                            _mm256_permute2x128_si256(a, c, 0x31), _mm256_permute2x128_si256(b, d, 0x31)};
#endif
  for (int t = 0; t < 4; ++t) _mm256_store_si256(reinterpret_cast<__m256i*>(runs + t * stride), parts[t]);
}

void join_quads(std::uint32_t* lanes, const std::uint32_t* runs, int stride) {
  __m256i r[4];
  for (int t = 0; t < 4; ++t) r[t] = _mm256_load_si256(reinterpret_cast<const __m256i*>(runs + t * stride));
  const __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpackhi_epi32(r[0], r[1]);
  const __m256i c = _mm256_unpacklo_epi32(r[2], r[3]), d = _mm256_unpackhi_epi32(r[2], r[3]);
  // Each 128-bit half of these has the four t of one g.
  const __m256i g0 = _mm256_unpacklo_epi64(a, c), g1 = _mm256_unpackhi_epi64(a, c), g2 = _mm256_unpacklo_epi64(b, d),
                g3 = _mm256_unpackhi_epi64(b, d);
  const auto put = [&](int n, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(lanes + 8 * n), v); };
  put(0, _mm256_permute2x128_si256(g0, g1, 0x20));
  put(1, _mm256_permute2x128_si256(g2, g3, 0x20));
  put(2, _mm256_permute2x128_si256(g0, g1, 0x31));
  put(3, _mm256_permute2x128_si256(g2, g3, 0x31));
}

void check_lanes(const Warp& warp, const Instruction& in) {
  if (warp.mask == kAllLanes || warp.block == nullptr) return;
  const int lane = std::countr_zero(warp.mask);
  checks::report(warp, in, lane, Fault::exited_lanes,
                 fmt::format("only lanes {:#010x} of the warp take part in a matrix instruction", warp.mask));
}

void add_registers(const ptx::Instruction& in, Decoder& decoder, const ptx::Operand& operand, int count, Width width,
                   bool written, std::vector<Location>& list) {
  const bool is_vector = operand.kind == ptx::Operand::Kind::vector;
  const std::span<const ptx::Operand> registers =
      is_vector ? std::span<const ptx::Operand>(operand.elements) : std::span(&operand, 1);
  if (static_cast<int>(registers.size()) != count) {
    decoder.fail(in, fmt::format("a fragment has {} registers where {} are needed", registers.size(), count));
  }
  for (const ptx::Operand& element : registers) {
    if (decoder.width(element) != width && element.kind != ptx::Operand::Kind::sink)
      decoder.fail(in, "a register's size is not the fragment's");
    list.push_back(written ? decoder.write(element, width) : decoder.read(element, width));
  }
}

void write_lanes(std::uint32_t* to, const std::uint32_t* from, Mask mask) {
  if (mask == kAllLanes) {
    std::memcpy(to, from, kLanes * sizeof(std::uint32_t));
    return;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((mask >> lane & 1u) != 0) to[lane] = from[lane];
  }
}

bool decode_mma(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture) {
  // mma.sync.aligned.SHAPE.ALAYOUT.BLAYOUT{.satfinite}.D.A.B.C{.xor|.and .popc}
  const auto& words = in.modifiers;
  if (words.size() < 9 || words[0] != "sync" || words[1] != "aligned") return false;
  const std::string_view shape = words[2];
  const bool a_columns = words[3] == "col", b_rows = words[4] == "row";
  if ((!a_columns && words[3] != "row") || (!b_rows && words[4] != "col")) return false;
  std::size_t at = 5;
  const bool saturate = words[at] == "satfinite";
  if (saturate) ++at;
  if (words.size() < at + 4) return false;
  const std::string_view first = words[at], last = words[at + 3];
  const std::string_view types(first.data(), static_cast<std::size_t>(last.data() + last.size() - first.data()));
  at += 4;
  std::string_view operation;
  if (words.size() == at + 2 && words[at + 1] == "popc") {
    operation = words[at];
  } else if (words.size() != at) {
    return false;
  }
  const Form* form = find_form(shape, types, architecture, saturate, operation);
  if (form == nullptr) return false;
  const bool quads = form->a == Element::f16 && form->m == 8;
  if ((a_columns || b_rows) && !quads) return false;
  if (form->architecture > architecture) {
    decoder.fail(in, fmt::format("needs sm_{}, the device is sm_{}", form->architecture, architecture));
  }
  const Counts counts = counts_of(*form);
  const int expected[] = {counts.d, counts.a, counts.b, counts.c};
  const Element elements[] = {form->d, form->a, form->b, form->c};
  if (in.operands.size() != 4) decoder.fail(in, "needs four operands");
  std::vector<Location> list;
  for (int n = 0; n < 4; ++n) {
    add_registers(in, decoder, in.operands[n], expected[n], elements[n] == Element::f64 ? Width::b64 : Width::b32, n == 0,
                  list);
  }
  out.list = decoder.list(std::move(list));
  out.immediate = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(form));
  out.flags = static_cast<std::uint8_t>((a_columns ? 1 : 0) | (b_rows ? 2 : 0));
  out.more = architecture >= 80 ? 1 : 0;
  out.kind = Kind::warp_sync;
  out.run = form->a == Element::f64 ? run_double : quads ? run_m8n8k4 : run_tile;
  return true;
}

}  // namespace sim::matrix

namespace sim {

std::vector<OpcodeEntry> matrix_opcodes() {
  return {{"mma", [](const ptx::Instruction& in, Decoder& decoder,
                     Instruction& out) { return matrix::decode_mma(in, decoder, out, options().architecture); }},
          {"wmma", [](const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
             return matrix::decode_wmma(in, decoder, out, options().architecture);
           }}};
}

}  // namespace sim
