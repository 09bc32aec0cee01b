#include "isa/matrix.h"
namespace sim::matrix { bool decode_wmma(const ptx::Instruction&, Decoder&, Instruction&, int) { return false; } }
