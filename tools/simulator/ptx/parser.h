// The parser: one recursive descent over the text, in files by subject. parser.cpp has the module, functions.cpp the functions
// and their directives, variables.cpp the declarations and initial values, constants.cpp the constant expressions,
// instructions.cpp the instructions and operands.
#pragma once
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/lexer.h"
#include "ptx/module.h"
#include "ptx/scopes.h"

namespace sim::ptx {

/// The value of a constant expression: `bits` of s64, u64 or double.
struct Constant {
  enum class Kind : std::uint8_t { signed_, unsigned_, floating };
  Kind kind = Kind::signed_;
  std::uint64_t bits = 0;
  std::uint8_t width = 0;  // of floating: 32 where it is a 0f literal, else 64
};

class Parser {
 public:
  explicit Parser(Module& module) : module_(module), lexer_(module.text) {}
  void parse();

 private:
  struct Declaration {
    Variable variable;
    std::string_view name;  // of the variable, in the text
    bool has_size = true;   // false for x[]
    std::vector<std::uint64_t> extents;
    int vector = 1;
  };

  // parser.cpp
  void module_statement();
  void version();
  void target();
  void file();
  void section();
  void alias();
  void check_names() const;
  void add_variable(Variable variable, std::string_view name, std::string_view linkage, int line);
  bool is_declared(std::string_view name) const { return variables_.contains(name) || functions_.contains(name); }
  int integer(std::string_view what, int lowest, int highest);

  // functions.cpp: what is known of the function that is parsed
  struct Reference {  // a name that may turn out a label of the function or something that the module declares
    int scope;
    std::string_view* name;  // in an operand or a list of branch targets, which stay where they are
    int line;
  };
  struct Place {  // a line with its column
    int file, line, column;
    bool operator==(const Place&) const = default;
  };
  struct PlaceHash {
    std::size_t operator()(const Place& place) const;
  };
  struct LineHash {
    std::size_t operator()(const SourceLine& line) const;
  };
  struct LineEqual {
    bool operator()(const SourceLine& a, const SourceLine& b) const;
  };
  struct Context {
    explicit Context(Module& module) : scopes(module.unique_names) {}
    Function function;
    Scopes scopes;
    std::vector<Reference> references;
    std::unordered_map<SourceLine, int, LineHash, LineEqual> line_indices;
    std::unordered_map<Place, int, PlaceHash> places;  // the latest line index of each
    int line = -1;
  };
  void function(bool is_entry, bool is_visible);
  std::vector<Variable> parameters(std::string_view what, bool names_are_optional);
  bool function_directive(Function& function);
  void three(int (&numbers)[3], std::string_view what);
  void body(int opened);
  void statement();
  void scoped_directive();
  void registers();
  void location();
  void label(std::string_view name, int line);
  void prototype(std::string_view label);
  void branch_targets(std::string_view label);
  void call_targets(std::string_view label);
  void resolve_references();
  void keep(Function function, int line);
  std::string_view local_name(std::string_view name);
  Context& context() { return *context_; }

  // variables.cpp
  static std::optional<Space> space_named(std::string_view directive);
  Declaration declaration_head(Space space, std::string_view what);
  void declarator(Declaration& declaration, bool name_is_optional);
  void finish_size(Declaration& declaration, int line) const;
  std::vector<Declaration> variable_list(Space space, bool is_extern);
  void initial_value(Declaration& declaration);
  void initial_list(Declaration& declaration, std::size_t dimension, std::size_t& at, std::size_t end);
  void initial_scalar(Declaration& declaration, std::size_t at);
  bool initial_symbol(Declaration& declaration, std::size_t at);
  Symbol symbol_with_offset(bool& generic);
  bool attribute(bool* managed = nullptr);

  // constants.cpp
  Constant constant(int lowest_precedence = 0);
  Constant constant_unary();
  std::int64_t integer_constant(std::string_view what);
  bool at_constant() const;

  // instructions.cpp
  void instruction();
  void guard(Instruction& instruction);
  Operand operand(bool is_call);
  Operand simple_operand(bool is_call);
  Operand immediate();
  Operand named();
  Operand address();
  Operand vector();
  Operand list();
  std::string_view special(std::string_view name);
  void note_references(std::vector<Operand>& operands, int line);

  Module& module_;
  Lexer lexer_;
  Context* context_ = nullptr;                                               // of the function that is parsed
  std::unordered_map<std::string_view, std::size_t> variables_, functions_;  // by name: indices into the module's
  std::vector<std::pair<std::string_view, int>> needed_;  // names that the module must declare, and where they are used
  std::vector<const char*> pending_;                      // names in the present instruction that are not declared yet
  std::size_t initial_bytes_ = 0;
  int depth_ = 0;
};

/// Keeps recursion within the stack.
class Nesting {
 public:
  Nesting(int& depth, int line) : depth_(depth) {
    if (++depth_ > 200) {
      --depth_;
      fail(line, "the expression is nested too deeply");
    }
  }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

}  // namespace sim::ptx
