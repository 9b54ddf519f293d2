// Compiles device code for a card: by NVRTC, else by nvcc.

#ifndef SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
#define SG3TF_CUSTOM_OPS_JIT_COMPILER_H_

#include <memory>
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

// Returns NVRTC, or null and the reason: the library `file`.
std::unique_ptr<Compiler> load_nvrtc(const std::string& file, std::string* reason);

// Returns nvcc, or null: the one in CUDA_HOME, else the one on the path.
std::unique_ptr<Compiler> find_nvcc();

// Returns the compiler of this process, or null and the reason: NVRTC, which is the file SG3TF_NVRTC or else on the
// loader's path, or nvcc.
const Compiler* find_compiler(std::string* reason);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
