#include "runtime/cuda/cublaslt.h"

#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace tesserae {

namespace {

// Version 13 goes with the runtime that this is built with; 12 has the same functions.
constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};

// Folders of toolkits that the loader does not search: $CUDA_HOME, then /usr/local/cuda*, the newest first.
std::vector<std::string> toolkitFolders() {
  std::vector<std::string> folders;
  if (const char* home = std::getenv("CUDA_HOME")) folders.push_back(std::string(home) + "/lib64/");
  std::vector<std::string> installed;
  if (DIR* directory = opendir("/usr/local")) {
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (name.rfind("cuda", 0) == 0) installed.push_back("/usr/local/" + name + "/lib64/");
    }
    closedir(directory);
  }
  std::sort(installed.rbegin(), installed.rend());
  folders.insert(folders.end(), installed.begin(), installed.end());
  return folders;
}

void* openLibrary() {
  for (const char* name : kNames) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  for (const std::string& folder : toolkitFolders()) {
    for (const char* name : kNames) {
      if (void* library = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    }
  }
  return nullptr;
}

template <class Function>
bool find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

const CublasLt* load() {
  void* library = openLibrary();
  if (!library) return nullptr;
  static CublasLt lt;
  const bool complete =
      find(library, "cublasLtCreate", &lt.create) &&
      find(library, "cublasLtMatmulDescCreate", &lt.matmulDescCreate) &&
      find(library, "cublasLtMatmulDescDestroy", &lt.matmulDescDestroy) &&
      find(library, "cublasLtMatmulDescSetAttribute", &lt.matmulDescSetAttribute) &&
      find(library, "cublasLtMatrixLayoutCreate", &lt.matrixLayoutCreate) &&
      find(library, "cublasLtMatrixLayoutDestroy", &lt.matrixLayoutDestroy) &&
      find(library, "cublasLtMatmulPreferenceCreate", &lt.matmulPreferenceCreate) &&
      find(library, "cublasLtMatmulPreferenceDestroy", &lt.matmulPreferenceDestroy) &&
      find(library, "cublasLtMatmulPreferenceSetAttribute", &lt.matmulPreferenceSetAttribute) &&
      find(library, "cublasLtMatmulAlgoGetHeuristic", &lt.matmulAlgoGetHeuristic) &&
      find(library, "cublasLtMatmul", &lt.matmul) && find(library, "cublasLtGetVersion", &lt.version);
  if (complete) return &lt;
  dlclose(library);
  return nullptr;
}

}  // namespace

const CublasLt* cublasLt() {
  static const CublasLt* const library = load();
  return library;
}

}  // namespace tesserae
