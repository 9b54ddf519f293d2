// Shared parts of the tests: a count of failures, a folder, and scenarios in separate processes.

#ifndef SG3TF_CUSTOM_OPS_JIT_TESTING_CHECKS_H_
#define SG3TF_CUSTOM_OPS_JIT_TESTING_CHECKS_H_

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace sg3::jit {

inline int failures = 0;

inline void check(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  printf("FAILED: %s\n", what.c_str());
  fflush(stdout);
}

inline void check_contains(const std::string& text, const std::string& part) {
  check(text.find(part) != std::string::npos, "'" + part + "' in '" + text + "'");
}

// Returns an empty folder below Bazel's folder for tests.
inline std::filesystem::path new_folder() {
  const char* parent = getenv("TEST_TMPDIR");
  std::string pattern = (std::filesystem::path(parent ? parent : "/tmp") / "jit.XXXXXX").string();
  return mkdtemp(pattern.data());
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Starts run() in a new process, whose exit status is the number of its failures.
template <class Run>
pid_t start(Run run) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    failures = 0;
    run();
    fflush(stdout);
    _exit(failures);
  }
  return child;
}

inline void wait_for(pid_t child, const std::string& name) {
  int status = 0;
  waitpid(child, &status, 0);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0, name);
}

// Runs a scenario in its own process, so that settings, and what a process looks up only once (such as its driver), do
// not outlast it.
template <class Run>
void scenario(const std::string& name, Run run) {
  wait_for(start(run), name);
}

inline int report() {
  printf("%d failures\n", failures);
  return failures != 0;
}

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_TESTING_CHECKS_H_
