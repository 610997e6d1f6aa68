#!/usr/bin/env bash
# Checks of native code that are done by compiling: declarations of vendors' libraries against their headers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for include in ${CUDA_HOME:+"$CUDA_HOME/include"} /usr/local/cuda/include; do
  [[ -f "$include/cublasLt.h" ]] || continue
  "${CXX:-g++}" -std=c++20 -fsyntax-only -Wall -Wextra -Inative -isystem "$include" test/native/cublaslt_declarations.cc
  echo "cuBLASLt is declared as in $include/cublasLt.h"
  exit
done
echo 'cuBLASLt: skipped, cublasLt.h is neither in $CUDA_HOME/include nor in /usr/local/cuda/include'
