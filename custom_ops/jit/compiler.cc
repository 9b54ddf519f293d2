#include "custom_ops/jit/compiler.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <vector>

#include "custom_ops/jit/sources.h"

namespace sg3::jit {
namespace {

// Everything that device code includes from the standard library. NVRTC declares memcpy itself.
constexpr Source kStandardHeaders[] = {
    {"stdint.h",
     "typedef signed char int8_t;\ntypedef short int16_t;\ntypedef int int32_t;\ntypedef long int64_t;\n"
     "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\ntypedef unsigned int uint32_t;\n"
     "typedef unsigned long uint64_t;\ntypedef unsigned long uintptr_t;\n"},
    {"string.h", ""},
};

// Returns true if code for architecture `arch` runs on the card. 10.1 of CUDA 12 is not of the family of 10.0 and 10.3:
// CUDA 13 calls it 11.0.
bool suits(int arch, int card) { return arch <= card && (arch != 101 || card == 101 || card == 110); }

class Nvrtc : public Compiler {
 public:
  static std::unique_ptr<Compiler> load(const std::string& file, std::string* reason) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      *reason = dlerror();
      return nullptr;
    }
    std::unique_ptr<Nvrtc> nvrtc(new Nvrtc);
    bool complete = true;
    const auto find = [&](auto* function, const char* name) {
      *function = reinterpret_cast<std::decay_t<decltype(*function)>>(dlsym(library, name));
      complete = complete && *function;
    };
    find(&nvrtc->version_, "nvrtcVersion");
    find(&nvrtc->num_archs_, "nvrtcGetNumSupportedArchs");
    find(&nvrtc->archs_, "nvrtcGetSupportedArchs");
    find(&nvrtc->create_, "nvrtcCreateProgram");
    find(&nvrtc->destroy_, "nvrtcDestroyProgram");
    find(&nvrtc->compile_, "nvrtcCompileProgram");
    find(&nvrtc->log_size_, "nvrtcGetProgramLogSize");
    find(&nvrtc->log_, "nvrtcGetProgramLog");
    find(&nvrtc->cubin_size_, "nvrtcGetCUBINSize");
    find(&nvrtc->cubin_, "nvrtcGetCUBIN");
    find(&nvrtc->ptx_size_, "nvrtcGetPTXSize");
    find(&nvrtc->ptx_, "nvrtcGetPTX");
    if (complete) {
      // NVRTC opens this file by its name alone. That fails if dlopen is intercepted, as by AddressSanitizer, or if the
      // folder of the library is not on its search path, as in wheels of CUDA 13.
      const std::string builtins = "libnvrtc-builtins.so." + nvrtc->version();
      Dl_info info;
      const char* path = dladdr(dlsym(library, "nvrtcVersion"), &info) ? info.dli_fname : file.c_str();
      dlopen((std::filesystem::path(path).parent_path() / builtins).c_str(), RTLD_NOW | RTLD_LOCAL);
      return nvrtc;
    }
    *reason = file + " is too old: CUDA 12.0 or newer is needed";
    return nullptr;
  }

  std::string name() const override { return "NVRTC " + version(); }

  std::string options() const override {
    std::string text;
    for (const char* option : kOptions) text += option + std::string(" ");
    for (const Source& header : kStandardHeaders) text += header.text;
    return text;
  }

  bool compile(const std::string& program, int arch, std::string* image, std::string* log) const override {
    const bool is_known = newest_arch(arch) == arch;
    const std::string target = (is_known ? "sm_" : "compute_") + std::to_string(newest_arch(arch));
    const std::string target_option = "--gpu-architecture=" + target;
    std::vector<const char*> options = {target_option.c_str()};
    options.insert(options.end(), std::begin(kOptions), std::end(kOptions));
    std::vector<const char*> names, texts;
    const auto add = [&](const Source& source) {
      names.push_back(source.name);
      texts.push_back(source.text);
    };
    std::for_each(std::begin(kStandardHeaders), std::end(kStandardHeaders), add);
    std::for_each(kSources, kSources + kNumSources, add);
    void* handle;
    int error = create_(&handle, program.c_str(), "sg3tf.cu", int(names.size()), texts.data(), names.data());
    if (error == 0) {
      error = compile_(handle, int(options.size()), options.data());
      *log = text(handle, log_size_, log_);
      if (error == 0) *image = is_known ? text(handle, cubin_size_, cubin_) : text(handle, ptx_size_, ptx_);
      destroy_(&handle);
    }
    return error == 0 && !image->empty();
  }

 private:
  static constexpr const char* kOptions[] = {"--std=c++17", "--device-as-default-execution-space"};

  Nvrtc() = default;

  std::string version() const {
    int major = 0, minor = 0;
    version_(&major, &minor);
    return std::to_string(major) + "." + std::to_string(minor);
  }

  // Returns the newest architecture that NVRTC supports, up to that of the card.
  int newest_arch(int card) const {
    int count = 0;
    num_archs_(&count);
    std::vector<int> archs(size_t(count) + 1);
    archs_(archs.data());
    int newest = 0;
    for (const int arch : archs) {
      if (suits(arch, card)) newest = std::max(newest, arch);
    }
    return newest;
  }

  static std::string text(void* program, int (*get_size)(void*, size_t*), int (*get)(void*, char*)) {
    size_t size = 0;
    if (get_size(program, &size) != 0) return "";
    std::string result(size, '\0');
    return get(program, result.data()) == 0 ? result : "";
  }

  int (*version_)(int* major, int* minor);
  int (*num_archs_)(int* count);
  int (*archs_)(int* archs);
  int (*create_)(void** program, const char* text, const char* name, int headers, const char* const* header_texts,
                 const char* const* header_names);
  int (*destroy_)(void** program);
  int (*compile_)(void* program, int count, const char* const* options);
  int (*log_size_)(void* program, size_t* size);
  int (*log_)(void* program, char* log);
  int (*cubin_size_)(void* program, size_t* size);
  int (*cubin_)(void* program, char* cubin);
  int (*ptx_size_)(void* program, size_t* size);
  int (*ptx_)(void* program, char* ptx);
};

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

bool write_file(const std::filesystem::path& path, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  return bool(std::ofstream(path, std::ios::binary) << text);
}

// A folder that exists as long as this object does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "sg3tf.XXXXXX").string();
    if (!error && mkdtemp(pattern.data())) path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }  // empty if none could be created

 private:
  std::filesystem::path path_;
};

// Returns the output of a shell command, or an empty string if it fails.
std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (!pipe) return "";
  std::string output;
  for (int c; (c = fgetc(pipe)) != EOF;) output += char(c);
  return pclose(pipe) == 0 ? output : "";
}

// Returns the text as one word of the shell.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

class Nvcc : public Compiler {
 public:
  static std::unique_ptr<Compiler> find() {
    const char* home = getenv("CUDA_HOME");
    const std::string command = home ? std::string(home) + "/bin/nvcc" : "nvcc";
    const std::string output = output_of(quoted(command) + " --version");
    const size_t release = output.find("release ");
    if (release == std::string::npos) return nullptr;
    const size_t from = release + 8;
    return std::unique_ptr<Compiler>(new Nvcc(command, output.substr(from, output.find(',', from) - from)));
  }

  std::string name() const override { return "nvcc " + version_; }

  std::string options() const override { return "-std=c++17 -O3"; }

  bool compile(const std::string& program, int arch, std::string* image, std::string* log) const override {
    const TemporaryFolder folder;
    const std::filesystem::path& path = folder.path();
    bool written = !path.empty() && write_file(path / "sg3tf.cu", program);
    for (int i = 0; i < kNumSources && written; ++i) written = write_file(path / kSources[i].name, kSources[i].text);
    if (!written) {
      *log = "cannot write to a temporary folder: set TMPDIR";
      return false;
    }
    const int known = largest_architecture(arch);
    const std::string target = known == arch ? " -cubin -arch=sm_" : " -ptx -arch=compute_";
    const std::string command = "cd " + quoted(path.string()) + " && " + quoted(command_) + target +
                                std::to_string(known) + " " + options() + " -I. -o out sg3tf.cu > log 2>&1";
    const bool ok = system(command.c_str()) == 0;
    *log = read_file(path / "log");
    if (ok) *image = read_file(path / "out");
    return ok && !image->empty();
  }

 private:
  Nvcc(const std::string& command, const std::string& version) : command_(command), version_(version) {}

  // Returns the largest architecture up to `arch` that nvcc supports, or `arch` if nvcc lists none.
  int largest_architecture(int arch) const {
    std::istringstream lines(output_of(quoted(command_) + " --list-gpu-arch"));
    int largest = 0, number;
    for (std::string line; std::getline(lines, line);) {
      if (sscanf(line.c_str(), "compute_%d", &number) == 1 && suits(number, arch)) largest = std::max(largest, number);
    }
    return largest > 0 ? largest : arch;
  }

  std::string command_, version_;
};

struct Found {
  std::unique_ptr<Compiler> compiler;
  std::string reason;

  Found() {
    const char* setting = getenv("SG3TF_NVRTC");
    const std::vector<std::string> files = {"libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"};
    for (const std::string& file : setting && *setting ? std::vector<std::string>{setting} : files) {
      if (!compiler) compiler = load_nvrtc(file, &reason);
    }
    if (!compiler) compiler = find_nvcc();
    if (!compiler) {
      reason = "neither NVRTC (" + reason +
               ") nor nvcc is found: pip install \"sg3tf[cuda]\", or set SG3TF_NVRTC to the file libnvrtc.so.12";
    }
  }
};

}  // namespace

std::unique_ptr<Compiler> load_nvrtc(const std::string& file, std::string* reason) { return Nvrtc::load(file, reason); }

std::unique_ptr<Compiler> find_nvcc() { return Nvcc::find(); }

const Compiler* find_compiler(std::string* reason) {
  static const Found found;
  *reason = found.reason;
  return found.compiler.get();
}

}  // namespace sg3::jit
