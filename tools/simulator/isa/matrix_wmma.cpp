// wmma: the matrices of mma.h, which the hardware multiplies as several mma of 16 x 8 results. Fragments are those of mma side
// by side, so that a fragment does not depend on the layout in memory.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "error.h"
#include "isa/access.h"
#include "isa/matrix.h"
#include "isa/memory_decoding.h"

namespace sim::matrix {
namespace {

using access::Addresses;
using access::Offsets;

// One operand is `tall` (16 rows a tile), the other `narrow` (8 columns a tile); m8n32 is run as its transpose.
struct Shape {
  std::string_view name;
  int m, n, k;
  bool transposed;
  int tall() const { return transposed ? n : m; }
  int narrow() const { return transposed ? m : n; }
  int rows_of_tile() const { return std::min(tall(), 16); }
};
constexpr Shape kShapes[] = {{"m16n16k16", 16, 16, 16, false},
                             {"m32n8k16", 32, 8, 16, false},
                             {"m8n32k16", 8, 32, 16, true},
                             {"m8n8k4", 8, 8, 4, false},
                             {"m16n16k8", 16, 16, 8, false}};

enum class Matrix : std::uint8_t { a, b, c };

// What a load or store moves, as Instruction::more holds it; Instruction::e is the number of registers.
struct Fragment {
  int shape = 0;
  Matrix matrix = Matrix::a;
  int bytes = 0;  // of an element
  bool by_columns = false;

  std::uint8_t packed() const {
    return static_cast<std::uint8_t>(shape | static_cast<int>(matrix) << 3 |
                                     std::countr_zero(static_cast<unsigned>(bytes)) << 5 | (by_columns ? 0x80 : 0));
  }
  static Fragment of(const Instruction& in) {
    return {in.more & 7, static_cast<Matrix>(in.more >> 3 & 3), 1 << (in.more >> 5 & 3), (in.more & 0x80) != 0};
  }
  const Shape& form() const { return kShapes[shape]; }
  bool is_tall() const { return (matrix == Matrix::a) != form().transposed; }  // of a and b
  int elements() const {
    const Shape& s = form();
    return matrix == Matrix::a ? s.m * s.k : matrix == Matrix::b ? s.k * s.n : s.m * s.n;
  }
  /// Elements that lie in neighbouring places of a lane's fragment and of a row or column: what one access may move.
  int run() const { return matrix == Matrix::c ? 2 : std::max(1, 4 / bytes); }
  int runs() const { return elements() / kLanes / run(); }

  struct Place {
    int row, column;
  };
  /// Element i of a run of a lane, in the matrix.
  Place place(int which, int lane, int i) const {
    const Shape& s = form();
    const int g = lane / 4, t = lane % 4;
    if (matrix == Matrix::c) {
      const int halves = s.rows_of_tile() / 8, tile = which / halves, narrow_tiles = s.narrow() / 8;
      const int tall = tile / narrow_tiles * 16 + which % halves * 8 + g, narrow = tile % narrow_tiles * 8 + 2 * t + i;
      return s.transposed ? Place{narrow, tall} : Place{tall, narrow};
    }
    const int halves = is_tall() ? s.rows_of_tile() / 8 : 1, of_tile = halves * s.k / (4 * run());
    const int tile = which / of_tile, r = which % of_tile;
    const int line = tile * (is_tall() ? 16 : 8) + r % halves * 8 + g, k = (t + r / halves * 4) * run() + i;
    return matrix == Matrix::a ? Place{line, k} : Place{k, line};
  }
  /// Whether the elements of a run are neighbours in memory.
  bool is_contiguous() const {
    const Place first = place(0, 0, 0), second = place(0, 0, 1);
    return run() == 1 || (by_columns ? second.row != first.row : second.column != first.column);
  }
  int default_stride() const {
    const Shape& s = form();
    const int rows = matrix == Matrix::b ? s.k : s.m, columns = matrix == Matrix::a ? s.k : s.n;
    return by_columns ? rows : columns;
  }
};

// The element of a run of a lane's registers: byte `at` of the run.
std::byte* in_registers(const Warp& w, const Instruction& in, const Fragment& fragment, int which, int lane, int at) {
  if (fragment.bytes == 8) {
    const int per_run = fragment.run();
    return w.at<std::byte>(in.list[which * per_run + at / 8]) + lane * 8;
  }
  const int words = std::max(1, fragment.run() * fragment.bytes / 4);
  return w.at<std::byte>(in.list[which * words + at / 4]) + lane * 4 + at % 4;
}

template <access::HandlerSpace space, bool checked, bool is_store>
void move(Warp& w, const Instruction& in) {
  check_lanes(w, in);
  if (w.mask == 0) return;
  const Fragment fragment = Fragment::of(in);
  const bool whole = fragment.is_contiguous();
  const int pieces = whole ? 1 : fragment.run();
  const auto bytes = static_cast<unsigned>(whole ? fragment.run() * fragment.bytes : fragment.bytes);
  const unsigned chunk = fragment.bytes == 8 ? 8 : std::min(bytes, 4u);  // of a piece, in one register
  alignas(64) Addresses base;
  access::read_addresses(w, in, base);
  for (int which = 0; which < fragment.runs(); ++which) {
    for (int piece = 0; piece < pieces; ++piece) {
      alignas(64) Addresses address;
      alignas(64) std::byte data[kLanes * 16];
      for (int lane = 0; lane < kLanes; ++lane) {
        const auto at = fragment.place(which, lane, piece);
        const std::int64_t stride =
            in.b == kNowhere ? fragment.default_stride() : static_cast<std::int64_t>(w.at<std::uint32_t>(in.b)[lane]);
        const std::int64_t element = fragment.by_columns ? at.column * stride + at.row : at.row * stride + at.column;
        address[lane] = base[lane] + static_cast<std::uint64_t>(element * fragment.bytes);
        if constexpr (is_store) {
          for (unsigned n = 0; n < bytes; n += chunk) {
            std::memcpy(data + static_cast<unsigned>(lane) * bytes + n,
                        in_registers(w, in, fragment, which, lane, piece * fragment.bytes + static_cast<int>(n)), chunk);
          }
        }
      }
      const access::Use use{bytes, bytes, is_store ? AccessKind::write : AccessKind::read, is_store ? data : nullptr};
      std::byte* pointers[kLanes];
      if constexpr (space == access::HandlerSpace::global) {
        const std::ptrdiff_t delta = access::resolve_global<checked>(w, in, address, use);
        for (int lane = 0; lane < kLanes; ++lane)
          pointers[lane] = reinterpret_cast<std::byte*>(address[lane] + static_cast<std::uint64_t>(delta));
      } else {
        alignas(64) Offsets offset;
        for (int lane = 0; lane < kLanes; ++lane) {
          if ((in.flags & access::kWide) == 0) address[lane] &= 0xffffffff;
          offset[lane] = address[lane] > 0xffffffff ? 0xffffffff : static_cast<std::uint32_t>(address[lane]);
        }
        if constexpr (space == access::HandlerSpace::shared) {
          access::resolve_shared<checked>(w, in, offset, use);
        } else {
          access::resolve_local<checked>(w, in, offset, use);
        }
        for (int lane = 0; lane < kLanes; ++lane) {
          pointers[lane] = offset[lane] + (space == access::HandlerSpace::shared
                                               ? w.block->shared
                                               : w.local + static_cast<std::size_t>(lane) * w.local_stride);
        }
      }
      for (Mask rest = w.mask; rest != 0; rest &= rest - 1) {
        const int lane = std::countr_zero(rest);
        if constexpr (is_store) {
          std::memcpy(pointers[lane], data + static_cast<unsigned>(lane) * bytes, bytes);
        } else {
          for (unsigned n = 0; n < bytes; n += chunk) {
            std::memcpy(in_registers(w, in, fragment, which, lane, piece * fragment.bytes + static_cast<int>(n)),
                        pointers[lane] + n, chunk);
          }
        }
      }
    }
  }
  if constexpr (!is_store) {
    // Fragments of f16 have eight registers whatever the shape: the rest repeats.
    const auto distinct =
        static_cast<std::uint32_t>(fragment.elements() * fragment.bytes / (kLanes * (fragment.bytes == 8 ? 8 : 4)));
    for (std::uint32_t r = distinct; r < in.e; ++r)
      write_lanes(w.at<std::uint32_t>(in.list[r]), w.at<std::uint32_t>(in.list[r % distinct]), w.mask);
  }
}

template <bool checked, bool is_store>
Handler move_in(ptx::Space space) {
  if (space == ptx::Space::shared) return move<access::HandlerSpace::shared, checked, is_store>;
  if (space == ptx::Space::local) return move<access::HandlerSpace::local, checked, is_store>;
  return move<access::HandlerSpace::global, checked, is_store>;
}

constexpr std::uint8_t kHalfC = 1, kHalfD = 2;

// immediate: the mma form of a tile; more: the shape; list: d, a, b, c.
void multiply(Warp& w, const Instruction& in) {
  check_lanes(w, in);
  const Form& form = form_of(in);
  const Shape& shape = kShapes[in.more];
  const Counts counts = counts_of(form);
  const bool is_half = form.a == Element::f16;
  const int tall_tiles = shape.tall() / 16, narrow_tiles = shape.narrow() / 8;
  const int a_registers = is_half ? 8 : (shape.transposed ? narrow_tiles * counts.b : tall_tiles * counts.a);
  const int b_registers = is_half ? 8 : (shape.transposed ? tall_tiles * counts.a : narrow_tiles * counts.b);
  const Element c_element = (in.flags & kHalfC) != 0 ? Element::f16 : form.c == Element::s32 ? Element::s32 : Element::f32;
  const Element d_element = (in.flags & kHalfD) != 0 ? Element::f16 : c_element == Element::s32 ? Element::s32 : Element::f32;
  const int c_tile = c_element == Element::f16 ? 2 : 4, d_tile = d_element == Element::f16 ? 2 : 4;
  const Location* d = in.list;
  const Location* a = d + tall_tiles * narrow_tiles * d_tile;
  const Location* b = a + a_registers;
  const Location* c = b + b_registers;
  const Location *tall = shape.transposed ? b : a, *narrow = shape.transposed ? a : b;
  Tile tiles[2][2];
  for (int i = 0; i < tall_tiles; ++i) {
    for (int j = 0; j < narrow_tiles; ++j) {
      Tile& tile = tiles[i][j];
      read_operands(w, form, tall + i * counts.a, narrow + j * counts.b, tile);
      read_accumulators(w, form, c_element, c + (i * narrow_tiles + j) * c_tile, tile);
      if (c_element == Element::f16 && form.c == Element::f32) {
        for (auto& column : tile.c) {
          for (std::uint32_t& x : column) x = std::bit_cast<std::uint32_t>(half_to_float(x));
        }
      }
      form.multiply(form, tile);
      if (d_element == Element::f16 && form.d == Element::f32) {
        for (auto& column : tile.c) {
          for (std::uint32_t& x : column) x = float_to_half(std::bit_cast<float>(x));
        }
      }
    }
  }
  // Results may replace operands.
  for (int i = 0; i < tall_tiles; ++i) {
    for (int j = 0; j < narrow_tiles; ++j) write_results(w, form, d_element, d + (i * narrow_tiles + j) * d_tile, tiles[i][j]);
  }
}

int shape_named(std::string_view name) {
  for (int n = 0; n < static_cast<int>(std::size(kShapes)); ++n) {
    if (kShapes[n].name == name) return n;
  }
  return -1;
}

// The types that a shape is there for: a and b of m16n16k16 and its like have 8 or 16 bits, tf32 and f64 have shapes of their
// own.
bool has_type(int shape, Matrix matrix, std::string_view type) {
  if (kShapes[shape].k == 4) return type == "f64";
  if (kShapes[shape].k == 8) return type == (matrix == Matrix::c ? "f32" : "tf32");
  if (matrix == Matrix::c) return type == "f16" || type == "f32" || type == "s32";
  return type == "f16" || type == "bf16" || type == "s8" || type == "u8";
}

int size_of_type(std::string_view type) {
  if (type == "f64") return 8;
  if (type == "f16" || type == "bf16") return 2;
  return type == "s8" || type == "u8" ? 1 : 4;
}

void need(int architecture, std::string_view type, const ptx::Instruction& in, Decoder& decoder) {
  const int lowest = type == "bf16" || type == "tf32" || type == "f64" ? 80 : 72;
  if (architecture < lowest) decoder.fail(in, fmt::format("needs sm_{}, the device is sm_{}", lowest, architecture));
}

bool decode_move(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture) {
  // wmma.load.MATRIX.sync.aligned.LAYOUT.SHAPE{.SPACE}.TYPE r, [p] {, stride}; wmma.store.d… [p], r {, stride}
  const auto& words = in.modifiers;
  const bool is_store = words[0] == "store";
  if (words.size() < 7 || words.size() > 8 || words[2] != "sync" || words[3] != "aligned") return false;
  Fragment fragment;
  if (is_store ? words[1] != "d" : words[1] != "a" && words[1] != "b" && words[1] != "c") return false;
  fragment.matrix = words[1] == "a" ? Matrix::a : words[1] == "b" ? Matrix::b : Matrix::c;
  if (words[4] != "row" && words[4] != "col") return false;
  fragment.by_columns = words[4] == "col";
  fragment.shape = shape_named(words[5]);
  const std::string_view type = words.back();
  if (fragment.shape < 0 || !has_type(fragment.shape, fragment.matrix, type)) return false;
  need(architecture, type, in, decoder);
  fragment.bytes = size_of_type(type);
  ptx::Space space = ptx::Space::none;
  if (words.size() == 8) {
    space = access::space_named(words[6]);
    if (space != ptx::Space::global && space != ptx::Space::shared) return false;
  }
  if (in.operands.size() < 2 || in.operands.size() > 3) decoder.fail(in, "needs two or three operands");
  const bool repeats = type == "f16" && fragment.matrix != Matrix::c;
  const int registers = repeats ? 8 : fragment.elements() * fragment.bytes / (kLanes * (fragment.bytes == 8 ? 8 : 4));
  std::vector<Location> list;
  add_registers(in, decoder, in.operands[is_store ? 1 : 0], registers, fragment.bytes == 8 ? Width::b64 : Width::b32, !is_store,
                list);
  out.list = decoder.list(std::move(list));
  const access::Address address = access::decode_address(in, in.operands[is_store ? 0 : 1], space, decoder);
  if (address.frame || address.space == ptx::Space::parameter || (is_store && address.space == ptx::Space::constant)) {
    decoder.fail(in, "matrices are in global or shared memory");
  }
  out.a = address.base;
  out.immediate = address.offset;
  out.flags = static_cast<std::uint8_t>((address.wide ? access::kWide : 0) |
                                        (address.space == ptx::Space::none ? access::kGeneric : 0));
  out.more = fragment.packed();
  out.e = static_cast<Location>(registers);
  if (in.operands.size() == 3) out.b = decoder.read(in.operands[2], Width::b32);
  out.kind = Kind::warp_sync;
  out.run = access::is_checked() ? (is_store ? move_in<true, true>(address.space) : move_in<true, false>(address.space))
                                 : (is_store ? move_in<false, true>(address.space) : move_in<false, false>(address.space));
  return true;
}

bool decode_multiply(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture) {
  // wmma.mma.sync.aligned.ALAYOUT.BLAYOUT.SHAPE.D.C or .D.A.B.C {.satfinite}
  std::span<const std::string_view> words = in.modifiers;
  if (words.size() < 8 || words[1] != "sync" || words[2] != "aligned") return false;
  for (std::string_view layout : words.subspan(3, 2)) {
    if (layout != "row" && layout != "col") return false;
  }
  const int shape = shape_named(words[5]);
  const bool saturate = words.back() == "satfinite";
  words = words.subspan(6, words.size() - 6 - (saturate ? 1 : 0));
  if (shape < 0 || (words.size() != 2 && words.size() != 4)) return false;
  const std::string_view d = words.front(), c = words.back(), a = words.size() == 2 ? "f16" : words[1],
                         b = words.size() == 2 ? "f16" : words[2];
  if (a != b || !has_type(shape, Matrix::a, a) || !has_type(shape, Matrix::c, d) || !has_type(shape, Matrix::c, c))
    return false;
  if (a != "f16" && c != d) return false;
  need(architecture, a, in, decoder);
  // Mixed accumulators are fp32 inside.
  const std::string_view inner = c == "f16" && d == "f16" ? "f16" : d == "f16" ? c : d;
  const Shape& s = kShapes[shape];
  const std::string_view tile = s.k == 4 ? "m8n8k4" : s.k == 8 ? "m16n8k8" : "m16n8k16";
  const Form* form = find_form(tile, fmt::format("{}.{}.{}.{}", inner, a, b, inner), architecture, saturate, "");
  if (form == nullptr) return false;
  if (in.operands.size() != 4) decoder.fail(in, "needs four operands");
  const auto registers = [&](int elements, std::string_view type) {
    return elements * size_of_type(type) / (kLanes * (type == "f64" ? 8 : 4));
  };
  const bool is_half = a == "f16";
  const int expected[] = {registers(s.m * s.n, d), is_half ? 8 : registers(s.m * s.k, a), is_half ? 8 : registers(s.k * s.n, b),
                          registers(s.m * s.n, c)};
  std::vector<Location> list;
  for (int n = 0; n < 4; ++n)
    add_registers(in, decoder, in.operands[n], expected[n], a == "f64" ? Width::b64 : Width::b32, n == 0, list);
  out.list = decoder.list(std::move(list));
  out.immediate = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(form));
  out.more = static_cast<std::uint8_t>(shape);
  out.flags = static_cast<std::uint8_t>((c == "f16" ? kHalfC : 0) | (d == "f16" ? kHalfD : 0));
  out.kind = Kind::warp_sync;
  out.run = a == "f64" ? run_double : multiply;
  return true;
}

}  // namespace

bool decode_wmma(const ptx::Instruction& in, Decoder& decoder, Instruction& out, int architecture) {
  if (in.modifiers.empty()) return false;
  if (in.modifiers[0] == "mma") return decode_multiply(in, decoder, out, architecture);
  return (in.modifiers[0] == "load" || in.modifiers[0] == "store") && decode_move(in, decoder, out, architecture);
}

}  // namespace sim::matrix
