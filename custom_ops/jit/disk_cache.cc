#include "custom_ops/jit/disk_cache.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace sg3::jit {
namespace {

constexpr size_t kDigits = 32;

std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& key) {
  return folder / (digest(key) + ".cubin");
}

bool write_all(int file, const std::string& data) {
  for (size_t done = 0; done < data.size();) {
    const ssize_t count = write(file, data.data() + done, data.size() - done);
    if (count <= 0) return false;
    done += size_t(count);
  }
  return true;
}

}  // namespace

std::string digest(const std::string& text) {
  using Word = unsigned __int128;
  const Word prime = (Word(1) << 88) + 0x13b;
  Word hash = Word(0x6c62272e07bb0142) << 64 | 0x62b821756295c58d;
  for (const unsigned char c : text) hash = (hash ^ c) * prime;
  std::string digits(kDigits, '0');
  for (size_t i = kDigits; i-- > 0; hash >>= 4) digits[i] = "0123456789abcdef"[size_t(hash & 15)];
  return digits;
}

std::filesystem::path cache_folder() {
  if (const char* folder = getenv("SG3TF_CACHE")) return folder;
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (cache && *cache) return std::filesystem::path(cache) / "sg3tf" / "kernels";
  if (home && *home) return std::filesystem::path(home) / ".cache" / "sg3tf" / "kernels";
  return {};
}

bool read_cached(const std::filesystem::path& folder, const std::string& key, std::string* image) {
  if (folder.empty()) return false;
  std::ifstream stream(path_of(folder, key), std::ios::binary);
  const std::string data{std::istreambuf_iterator<char>(stream), {}};
  if (data.size() <= kDigits) return false;
  *image = data.substr(kDigits);
  return digest(*image) == data.substr(0, kDigits);
}

bool write_cached(const std::filesystem::path& folder, const std::string& key, const std::string& image) {
  std::error_code error;
  if (folder.empty() || (std::filesystem::create_directories(folder, error), error)) return false;
  std::string name = (folder / ".new.XXXXXX").string();
  const int file = mkstemp(name.data());
  if (file < 0) return false;
  // Only the owner can read a file that mkstemp creates, but other users may share the cache.
  const bool written = fchmod(file, 0644) == 0 && write_all(file, digest(image) + image);
  if (close(file) == 0 && written) {
    std::filesystem::rename(name, path_of(folder, key), error);
    if (!error) return true;
  }
  unlink(name.c_str());
  return false;
}

}  // namespace sg3::jit
