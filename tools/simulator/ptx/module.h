#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace sim::ptx {

/// The fundamental types of PTX (PTX ISA, "Fundamental Types" and "Alternate Floating-Point Data Formats").
enum class Type : std::uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  bf16x2,
  tf32,
  f32,
  f64,
  u16x2,
  s16x2,
  f32x2,
  e4m3,
  e5m2,
  e4m3x2,
  e5m2x2,
  s4,
  u4,
  b1
};

int size_of(Type type);                  // bytes; pred, s4, u4 and b1 have none: 0
std::string_view name_of(Type type);     // as written, without the dot
Type type_named(std::string_view name);  // Type::none for a name that is not a type's

enum class Space : std::uint8_t { none, constant, global, local, parameter, shared, generic };

/// A line of the program's source, from `.loc`; line 0 where the compiler gave none. `inlined_at` is an index into
/// Function::lines, or -1: the chain from the innermost inlined function out to the kernel.
struct SourceLine {
  int file = 0;  // index into Module::files
  int line = 0;
  int inlined_at = -1;
};

/// What an address or an initial value points to: `name` + `offset`.
struct Symbol {
  std::string name;
  std::int64_t offset = 0;
};

/// One operand. Registers are indices into Function::registers (scoped names are resolved by the parser).
struct Operand {
  enum class Kind : std::uint8_t {
    register_,  // reg; `negated` for !%p; name: the selector of a video instruction's operand (%r1.b0), else empty
    integer,    // value
    floating,   // value holds the bits: 32 of 0f…, 64 of 0d… and of decimal literals (`width` says which)
    special,    // name: "tid.x", "laneid", "SM_90"…, without '%'; a vector special without suffix stands for itself
    symbol,     // name + value: a variable, function or label as a value
    address,    // [reg + value] or [name + value]: reg >= 0 or name, never both; [value] alone has neither
    vector,     // {elements}
    pair,       // d|p: elements[0] and elements[1]
    sink,       // _
    list,  // (a, b, …): the results or arguments of a call; also [a, {x, y}] of a tensor or texture, first element an address
  };
  Kind kind = Kind::sink;
  bool negated = false;
  std::uint8_t width = 0;
  int reg = -1;
  std::int64_t value = 0;
  std::string_view name;
  std::vector<Operand> elements;
};

/// An instruction as written: `opcode` "mad", `modifiers` {"lo", "s32"}; `full` the whole "mad.lo.s32".
struct Instruction {
  std::string_view opcode;
  std::string_view full;
  std::vector<std::string_view> modifiers;  // without the dots
  int guard = -1;                           // register of @%p, or -1
  bool guard_negated = false;
  std::vector<Operand> operands;
  int line = -1;     // index into Function::lines
  int ptx_line = 0;  // line in the PTX text, from 1

  bool has(std::string_view modifier) const;
};

struct Register {
  std::string name;
  Type type;
};

struct Relocation {
  std::size_t at;  // byte in `initial`
  int size;        // 4 or 8; 1 for mask()
  Symbol symbol;
  bool generic;   // generic(symbol): the generic address
  int shift = 0;  // mask(): which byte of the address (right shift in bits) a one-byte entry holds
};

struct Variable {
  std::string name;
  Space space = Space::none;
  Type type = Type::none;
  std::size_t bytes = 0;  // whole size; 0 for an extern array of unknown size
  std::size_t alignment = 1;
  bool is_extern = false;
  bool is_visible = false;         // .visible, .weak or .common: other modules mean the same
  bool is_managed = false;         // .attribute(.managed)
  std::vector<std::byte> initial;  // empty, or `bytes` of them
  std::vector<Relocation> relocations;
};

struct Function {
  std::string name;
  bool is_entry = false;
  bool is_defined = false;
  bool is_visible = false;  // .visible, .weak or an entry: other modules mean the same
  std::vector<Variable> parameters, results;
  std::vector<Register> registers;  // those that are used
  std::vector<Variable> variables;  // .local, .shared and call-sequence .param variables; scoped names are made unique
  std::vector<Instruction> body;
  std::vector<std::pair<std::string_view, int>> labels;  // name -> index into body (may be body.size())
  std::vector<std::pair<std::string_view, std::vector<std::string_view>>> branch_targets;  // .branchtargets of brx.idx
  std::vector<std::pair<std::string_view, std::vector<Variable>>> prototypes;  // name -> results, then parameters (see counts)
  std::vector<int> prototype_results;  // how many of each prototype's variables are results
  std::vector<SourceLine> lines;
  int max_threads[3] = {0, 0, 0};       // .maxntid, 0 where not given
  int required_threads[3] = {0, 0, 0};  // .reqntid
  int required_cluster[3] = {0, 0, 0};  // .reqnctapercluster
  bool is_cluster = false;              // .explicitcluster, .blocksareclusters: made to be launched in clusters
  int min_blocks = 0;                   // .minnctapersm
  int max_registers = 0;                // .maxnreg
};

/// One PTX module. Views point into `text` and `unique_names`, which the module owns.
struct Module {
  std::string text;
  int version_major = 0, version_minor = 0;
  std::string target;  // "sm_80"
  int address_size = 64;
  std::vector<std::string> files;   // index = the number in .file; 0 unused
  std::vector<Variable> variables;  // .global, .const and module-scope .shared
  std::vector<Function> functions;  // a declaration and its definition are one entry
  std::vector<std::pair<std::string, std::string>> aliases;
  std::deque<std::string> unique_names;  // what views point to that the text does not have, as "param0@2"

  Module() = default;
  Module(Module&&) = default;  // a copy's views would point into the original
  Module& operator=(Module&&) = default;
};

/// Throws Error with the line for anything that is not well-formed PTX; never crashes on any bytes.
Module parse(std::string text);

}  // namespace sim::ptx
