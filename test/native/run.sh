#!/usr/bin/env bash
# Checks of native code without Node.js: small programs over parts of it, and declarations of vendors' libraries against their
# headers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
# program NAME SANITIZER SOURCES: builds and runs test/native/NAME.cc with these sources of native/.
program() {
  "${CXX:-g++}" -std=c++20 -O1 -g -Wall -Wextra -Wno-missing-field-initializers -fsanitize="$2" -pthread -Inative \
    "test/native/$1.cc" "${@:3}" -o "$programs/$1"
  "$programs/$1"
  echo "$1 passed"
}
program in_process_group thread native/comm/in_process_group.cc native/runtime/{dtype,error}.cc
program state_hazards address,undefined native/compiler/state_hazards.cc native/runtime/{axis,dtype,error}.cc

for include in ${CUDA_HOME:+"$CUDA_HOME/include"} /usr/local/cuda/include; do
  [[ -f "$include/cublasLt.h" ]] || continue
  "${CXX:-g++}" -std=c++20 -fsyntax-only -Wall -Wextra -Inative -isystem "$include" test/native/cublaslt_declarations.cc
  echo "cuBLASLt is declared as in $include/cublasLt.h"
  exit
done
echo 'cuBLASLt: skipped, cublasLt.h is neither in $CUDA_HOME/include nor in /usr/local/cuda/include'
