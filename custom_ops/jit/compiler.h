// Compiles device code for a card: by NVRTC, else by nvcc.

#ifndef SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
#define SG3TF_CUSTOM_OPS_JIT_COMPILER_H_

#include <string>

namespace sg3::jit {

class Compiler {
 public:
  virtual ~Compiler() = default;

  // Name and version, "NVRTC 12.9".
  virtual std::string name() const = 0;

  // Compiles a program that includes embedded sources, for compute capability `arch` (90 for 9.0). The image is a
  // cubin, or PTX where the compiler does not know the card yet. Returns false and the compiler's log if that fails.
  virtual bool compile(const std::string& program, int arch, std::string* image, std::string* log) const = 0;
};

// Returns the compiler, or null and the reason. NVRTC is SG3TF_NVRTC, a file, or libnvrtc on the loader's path; nvcc is
// in CUDA_HOME or on the path.
const Compiler* find_compiler(std::string* reason);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
