#!/usr/bin/env bash
# Fuzzes native code's readers of text under AddressSanitizer:
#   test/fuzz/native/run.sh [RUNS]     RUNS inputs (default 2,500, about a minute), the same each time The first inputs are
#   Graphs of lib/models, so dist/ has to be there. An input that fails is left in build-fuzz/, named in the last lines;
#   build-fuzz/fuzz_native FILE runs it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

# 14, Debian 12's default, has no _Float16 on x86.
clang=clang++-16
if ! command -v $clang >/dev/null || ! [[ -e "$($clang -print-file-name=libclang_rt.fuzzer-x86_64.a)" ]]; then
  sudo="$( ((EUID == 0)) || echo sudo)"
  $sudo apt-get -qq update
  $sudo apt-get -qq install --yes --no-install-recommends clang-16 libclang-rt-16-dev libomp-16-dev >/dev/null
fi

# -O1: half the time of compiling. -w: g++ is the compiler that warnings are chosen for.
cmake -G Ninja -B build-fuzz -DCMAKE_CXX_COMPILER=$clang -DCMAKE_BUILD_TYPE=Fuzz -DCMAKE_CXX_FLAGS_FUZZ='-O1 -w' \
  -DTESSERAE_CUDA=OFF -DTESSERAE_ADDON=OFF -DTESSERAE_WERROR=OFF -DTESSERAE_FUZZ=ON \
  -DTESSERAE_SANITIZE=fuzzer-no-link,address >/dev/null
cmake --build build-fuzz --target fuzz_native

rm -rf build-fuzz/corpus
node test/fuzz/native/make_corpus.mjs build-fuzz/corpus
# One thread of OpenMP and a fixed seed: a run can be repeated. Looking for leaks needs ptrace, which containers forbid.
cd build-fuzz
exec env OMP_NUM_THREADS=1 ./fuzz_native -seed=1 -runs="${1:-2500}" -max_len=65536 -timeout=20 -rss_limit_mb=4096 \
  -detect_leaks=0 -print_final_stats=1 -verbosity=0 corpus
