// The cache on disk: what is read is what was written, or nothing.

#include "custom_ops/jit/disk_cache.h"

#include <vector>

#include "custom_ops/jit/testing/checks.h"

namespace sg3::jit {
namespace {

namespace fs = std::filesystem;

// 100 kB in which every byte value occurs, NUL included.
std::string image_of(int seed) {
  std::string image(100000, '\0');
  for (size_t i = 0; i < image.size(); ++i) image[i] = char(i * 31 + i / 251 + size_t(seed));
  return image;
}

fs::path only_file(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  check(files.size() == 1, std::to_string(files.size()) + " files in the folder");
  return files.empty() ? fs::path() : files[0];
}

// Values from the authors' page: isthe.com/chongo/src/fnv, test_fnv.c.
void test_digest() {
  check(digest("") == "6c62272e07bb014262b821756295c58d", "digest of nothing");
  check(digest("a") == "d228cb696f1a8caf78912b704e4a8964", "digest of a");
  check(digest("foobar") == "343e1662793c64bf6f0d3597ba446f18", "digest of foobar");
}

void test_round_trip() {
  const fs::path folder = new_folder() / "made" / "here";
  std::string image;
  check(!read_cached(folder, "key", &image), "no folder");
  check(write_cached(folder, "key", image_of(1)), "write");
  check(read_cached(folder, "key", &image) && image == image_of(1), "read");
  check(!read_cached(folder, "another key", &image), "another key");
  check(write_cached(folder, "key", image_of(2)), "write again");
  check(read_cached(folder, "key", &image) && image == image_of(2), "read again");
  const fs::perms permissions = fs::status(only_file(folder)).permissions();
  check((permissions & fs::perms::others_read) != fs::perms::none, "other users can read it");
}

void test_damage() {
  const fs::path folder = new_folder();
  write_cached(folder, "key", image_of(1));
  const fs::path file = only_file(folder);
  const std::string content = read_text(file);
  std::string image;
  for (const size_t size : {size_t(0), size_t(1), size_t(31), size_t(32), size_t(33), content.size() - 1}) {
    write_text(file, content.substr(0, size));
    check(!read_cached(folder, "key", &image), "truncated to " + std::to_string(size));
  }
  for (const size_t at : {size_t(0), size_t(31), size_t(32), content.size() - 1}) {
    std::string changed = content;
    changed[at] ^= 1;
    write_text(file, changed);
    check(!read_cached(folder, "key", &image), "a bit changed in byte " + std::to_string(at));
  }
  write_text(file, content + "x");
  check(!read_cached(folder, "key", &image), "a byte too many");
  check(write_cached(folder, "key", image_of(1)) && read_cached(folder, "key", &image), "written again");
}

void test_no_folder() {
  const fs::path file = new_folder() / "file";
  write_text(file, "");
  std::string image;
  for (const fs::path& folder : {fs::path(), file / "below", fs::path("/proc/sg3tf")}) {
    check(!write_cached(folder, "key", "image"), "write to '" + folder.string() + "'");
    check(!read_cached(folder, "key", &image), "read from '" + folder.string() + "'");
  }
}

// Readers always get the complete image of one of the writers.
void test_processes() {
  const fs::path folder = new_folder();
  write_cached(folder, "key", image_of(0));
  std::vector<pid_t> children;
  for (int seed = 0; seed < 4; ++seed) {
    children.push_back(start([&] {
      for (int i = 0; i < 50; ++i) {
        std::string image;
        check(write_cached(folder, "key", image_of(seed)), "write beside others");
        const bool found = read_cached(folder, "key", &image);
        check(found && image == image_of(image[0]), "read beside others");
      }
    }));
  }
  for (const pid_t child : children) wait_for(child, "processes");
  only_file(folder);
}

void test_cache_folder() {
  setenv("HOME", "/home/one", 1);
  unsetenv("XDG_CACHE_HOME");
  unsetenv("SG3TF_CACHE");
  check(cache_folder() == "/home/one/.cache/sg3tf/kernels", "HOME");
  setenv("XDG_CACHE_HOME", "/cache", 1);
  check(cache_folder() == "/cache/sg3tf/kernels", "XDG_CACHE_HOME");
  setenv("SG3TF_CACHE", "/mine", 1);
  check(cache_folder() == "/mine", "SG3TF_CACHE");
  setenv("SG3TF_CACHE", "", 1);
  check(cache_folder().empty(), "SG3TF_CACHE is empty");
  for (const char* name : {"HOME", "XDG_CACHE_HOME", "SG3TF_CACHE"}) unsetenv(name);
  check(cache_folder().empty(), "nothing set");
}

}  // namespace
}  // namespace sg3::jit

int main() {
  using namespace sg3::jit;
  test_digest();
  test_round_trip();
  test_damage();
  test_no_folder();
  test_processes();
  test_cache_folder();
  return report();
}
