#!/usr/bin/env bash
# Prints the C++ source of sources.h's table with the given files, which lie somewhere below custom_ops.
set -euo pipefail
echo '#include "custom_ops/jit/sources.h"'
echo 'namespace sg3::jit {'
echo 'const Source kSources[] = {'
for file in "$@"; do
  printf '{"custom_ops/%s", R"sg3source(' "${file#*custom_ops/}"
  cat "$file"
  echo ')sg3source"},'
done
echo '};'
echo "const int kNumSources = $#;"
echo '}  // namespace sg3::jit'
