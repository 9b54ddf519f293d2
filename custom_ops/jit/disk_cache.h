// Compiled code on disk: one file per program, compiler, options, architecture and driver.
//
// A file holds the digest of its image, then the image. Files appear atomically, and a damaged file counts as missing.
// If the folder cannot be written, there is no cache.

#ifndef SG3TF_CUSTOM_OPS_JIT_DISK_CACHE_H_
#define SG3TF_CUSTOM_OPS_JIT_DISK_CACHE_H_

#include <filesystem>
#include <string>

namespace sg3::jit {

// Returns the 128-bit FNV-1a hash of the text, as 32 hexadecimal digits.
std::string digest(const std::string& text);

// Returns SG3TF_CACHE, else $XDG_CACHE_HOME/sg3tf/kernels, else ~/.cache/sg3tf/kernels, else an empty path.
std::filesystem::path cache_folder();

// Reads the image that was stored under `key`; returns false if there is none.
bool read_cached(const std::filesystem::path& folder, const std::string& key, std::string* image);

// Stores the image for later processes; returns false if that fails.
bool write_cached(const std::filesystem::path& folder, const std::string& key, const std::string& image);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_DISK_CACHE_H_
