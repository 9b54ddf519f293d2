// Compiles device code for a card, with NVRTC or else with nvcc.

#ifndef SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
#define SG3TF_CUSTOM_OPS_JIT_COMPILER_H_

#include <memory>
#include <string>

namespace sg3::jit {

class Compiler {
 public:
  virtual ~Compiler() = default;

  // Returns the name and version, such as "NVRTC 12.9".
  virtual std::string name() const = 0;

  // Returns all that an image depends on besides its program, the embedded sources, name() and the card: options.
  virtual std::string options() const = 0;

  // Compiles a program that includes embedded sources, for compute capability `arch` (90 for 9.0). The image is a
  // cubin, or PTX if the compiler does not support the card yet. On failure, returns false and the compiler's log.
  virtual bool compile(const std::string& program, int arch, std::string* image, std::string* log) const = 0;
};

// Returns NVRTC from the library `file`, or null and the reason.
std::unique_ptr<Compiler> load_nvrtc(const std::string& file, std::string* reason);

// Returns the nvcc in CUDA_HOME or else on the path, or null if there is none.
std::unique_ptr<Compiler> find_nvcc();

// Returns the compiler of this process: NVRTC from the file SG3TF_NVRTC or else from the loader's path, or else nvcc.
// If there is none, returns null and the reason.
const Compiler* find_compiler(std::string* reason);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_COMPILER_H_
