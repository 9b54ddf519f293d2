// The device code of the kernels as text, embedded by embed.sh.

#ifndef SG3TF_CUSTOM_OPS_JIT_SOURCES_H_
#define SG3TF_CUSTOM_OPS_JIT_SOURCES_H_

namespace sg3::jit {

// A file, under the name by which others include it.
struct Source {
  const char *name, *text;
};

extern const Source kSources[];
extern const int kNumSources;

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_SOURCES_H_
