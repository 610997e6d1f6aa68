#!/usr/bin/env bash
# Makes a checkout ready: system packages (Debian, Ubuntu), npm packages, the TypeScript build and the addon.
# Run it again at any time: it does only what is missing or out of date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

command -v node >/dev/null || die "Node.js is missing. Install version 20.19 or newer: https://nodejs.org"
command -v npm >/dev/null || die "npm is missing. It comes with Node.js: https://nodejs.org"
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
  die "Node.js $(node --version) is too old: 20.19 or newer is needed."
command -v g++ >/dev/null || command -v c++ >/dev/null ||
  die "no C++ compiler found. Install g++ 12 or newer (Debian, Ubuntu: apt-get install g++)."
command -v cmake >/dev/null || die "cmake is missing. Install 3.19 or newer (Debian, Ubuntu: apt-get install cmake)."

packages=(libdnnl-dev ninja-build nlohmann-json3-dev)
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  missing=()
  for package in "${packages[@]}"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]})); then
    as_root=()
    if ((EUID != 0)); then
      command -v sudo >/dev/null || die "system packages are missing; as root: apt-get install ${missing[*]}"
      as_root=(sudo)
    fi
    say "installing system packages: ${missing[*]}${as_root:+ (by sudo)}"
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${install[@]}" update
    "${install[@]}" install --yes --no-install-recommends "${missing[@]}"
  fi
else
  say "this is not Debian or Ubuntu: make sure that oneDNN, ninja and nlohmann-json are installed (${packages[*]} there)"
fi

if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  say "installing npm packages"
  # Nothing here needs install scripts.
  npm ci --ignore-scripts --no-fund --no-audit
  touch node_modules/.package-lock.json
fi

node scripts/prepare.mjs
say "ready"
