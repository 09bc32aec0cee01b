#pragma once
#include <string_view>
#include <vector>

#include "isa/instruction.h"
#include "ptx/module.h"

namespace sim {

/// b128 takes 512 bytes: the low 64 bits of all lanes, then the high ones.
struct Code;

enum class Width : std::uint8_t { none, pred, b16, b32, b64, b128 };

/// The storage class of a type: 8- and 16-bit types b16, packed halves b32.
Width width_of(ptx::Type type);

/// The bytes that an operand's 32 lanes take in a frame; a predicate's mask takes 4. Throws Error for Width::none.
std::uint32_t frame_bytes_of(Width width);

/// What a decode function asks to turn one PTX instruction into an Instruction. Every failure throws Error naming the
/// instruction and its PTX line.
class Decoder {
 public:
  virtual ~Decoder() = default;

  /// Storage class of a register operand; Width::none for an immediate, symbol or sink.
  virtual Width width(const ptx::Operand& operand) const = 0;

  /// Lanes to read: a register (of `width`, or a wider one, whose low part counts: little-endian lanes stay lanes of the
  /// register's own width, so ask width() first where a wider register is legal), a special register, or a constant broadcast
  /// to 32 lanes: integers cut to `width`, `0f`/`0d` literals converted to the bits of `type` when it is f32, f64, f16 or bf16,
  /// addresses of variables and functions. A predicate immediate is 0 or 1 for all lanes.
  virtual Location read(const ptx::Operand& operand, Width width, ptx::Type type = ptx::Type::none) = 0;
  /// A register to write; a sink gets a scratch place.
  virtual Location write(const ptx::Operand& operand, Width width) = 0;
  /// May an instruction of the function read the register? nvcc gives an atomic whose result the program ignores a register
  /// that nothing reads.
  virtual bool is_read(const ptx::Operand& operand) const { return operand.kind == ptx::Operand::Kind::register_; }
  /// A broadcast constant.
  virtual Location constant(std::uint64_t bits, Width width) = 0;
  /// The hidden condition code of .cc instructions: a predicate of the frame, one for the function.
  virtual Location carry() = 0;
  /// A list with the life of the code.
  virtual const Location* list(std::vector<Location> locations) = 0;

  /// The space and offset that `[symbol + n]` or a symbol operand stands for; generic addresses for global, const; offsets for
  /// shared, local and parameters.
  struct Target {
    ptx::Space space = ptx::Space::none;
    std::uint64_t address = 0;
    std::size_t bytes = 0;  // of the variable
  };
  virtual Target target(std::string_view symbol) const = 0;
  /// A call-sequence .param variable or a function's own parameter or result: AoS bytes in the frame, lane l at frame offset +
  /// l * stride. False when it is a kernel's parameter.
  struct FrameVariable {
    std::uint32_t offset = 0, stride = 0;
    std::size_t bytes = 0;
  };
  virtual bool frame_variable(std::string_view symbol, FrameVariable& variable) const = 0;

  /// The kernel's result may depend on the order of its blocks (an atomic whose result is used, a volatile load, …): they then
  /// run on one host thread, in a reproducible order.
  virtual void order_dependent() = 0;

  /// The code under way, for the control family's call and barrier sites.
  virtual Code& code();

  [[noreturn]] virtual void fail(const ptx::Instruction& instruction, std::string_view why) const = 0;
};

/// A family's decode function fills `out` and returns true, or returns false when the form (opcode + modifiers) is not one it
/// implements.
using Decode = bool (*)(const ptx::Instruction& in, Decoder& decoder, Instruction& out);

struct OpcodeEntry {
  std::string_view opcode;
  Decode decode;
};

// The families; each file of isa/ gives one.
std::vector<OpcodeEntry>
integer_opcodes();  // add sub mul mad mul24 mad24 div rem abs neg min max sad addc subc madc popc clz bfind brev bfe bfi fns
                    // dp4a dp2a shl shr shf prmt lop3 and or xor not cnot bmsk szext + packed add/min/max u16x2 s16x2
std::vector<OpcodeEntry> floating_opcodes();    // the same names for f32, f64, f16(x2), bf16(x2): add sub mul fma div rcp sqrt
                                                // rsqrt abs neg min max copysign testp sin cos lg2 ex2 tanh
std::vector<OpcodeEntry> conversion_opcodes();  // cvt cvt.pack
std::vector<OpcodeEntry> move_opcodes();        // mov cvta isspacep
std::vector<OpcodeEntry> comparison_opcodes();  // set setp selp slct
std::vector<OpcodeEntry> memory_opcodes();      // ld ldu st atom red cp prefetch(u) fence membar mbarrier ldmatrix stmatrix
                                                // movmatrix applypriority discard createpolicy
std::vector<OpcodeEntry> warp_opcodes();        // shfl vote match redux activemask elect
std::vector<OpcodeEntry> matrix_opcodes();      // mma wmma
std::vector<OpcodeEntry>
control_opcodes();  // bra brx call ret exit trap brkpt bar barrier nanosleep griddepcontrol getctarank mapa setmaxnreg

}  // namespace sim
