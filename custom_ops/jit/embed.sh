#!/usr/bin/env bash
# Prints the C++ source of the table in sources.h, with the given files, which must be below custom_ops.
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
