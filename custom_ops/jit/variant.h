// What is compiled: a kernel and the macros that specialize it.

#ifndef SG3TF_CUSTOM_OPS_JIT_VARIANT_H_
#define SG3TF_CUSTOM_OPS_JIT_VARIANT_H_

#include <string>
#include <utility>
#include <vector>

namespace sg3::jit {

// The extern "C" kernel `function` of the source `file`, compiled with `macros`.
struct Variant {
  std::string file, function;
  std::vector<std::pair<std::string, std::string>> macros;

  // The program that is compiled.
  std::string program() const {
    std::string text;
    for (const auto& [name, value] : macros) text += "#define " + name + " " + value + "\n";
    return text + "#include \"" + file + "\"\n";
  }
};

inline std::string argument_text(const std::string& argument) { return argument; }

inline std::string argument_text(int argument) { return std::to_string(argument); }

// Returns "Name<1, 2, 3>". Arguments are numbers and the texts of types.
template <class... Arguments>
std::string type_text(const std::string& name, const Arguments&... arguments) {
  std::string text;
  ((text += (text.empty() ? "" : ", ") + argument_text(arguments)), ...);
  return name + "<" + text + ">";
}

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_VARIANT_H_
