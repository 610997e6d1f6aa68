# TESSERAE_CUDA: the environment variable (1 or 0) decides, else the cached choice, else whether this machine has both
# nvcc and a driver.

find_program(TESSERAE_NVCC nvcc PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)

if(NOT "$ENV{TESSERAE_CUDA}" STREQUAL "")
  if("$ENV{TESSERAE_CUDA}")
    set(TESSERAE_CUDA ON CACHE BOOL "build the CUDA part" FORCE)
  else()
    set(TESSERAE_CUDA OFF CACHE BOOL "build the CUDA part" FORCE)
  endif()
elseif(NOT DEFINED TESSERAE_CUDA)
  find_library(TESSERAE_CUDA_DRIVER NAMES libcuda.so.1 PATHS /usr/lib/wsl/lib)
  find_program(TESSERAE_NVIDIA_SMI nvidia-smi)
  if(TESSERAE_NVCC AND (TESSERAE_CUDA_DRIVER OR TESSERAE_NVIDIA_SMI))
    set(TESSERAE_CUDA ON CACHE BOOL "build the CUDA part")
  else()
    set(TESSERAE_CUDA OFF CACHE BOOL "build the CUDA part")
  endif()
endif()

if(TESSERAE_CUDA)
  if(NOT TESSERAE_NVCC)
    message(FATAL_ERROR "TESSERAE_CUDA is on, but nvcc is neither on PATH nor in /usr/local/cuda/bin. "
                        "Install the CUDA toolkit (13), set CUDA_HOME, or build with TESSERAE_CUDA=0.")
  endif()
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    set(CMAKE_CUDA_COMPILER ${TESSERAE_NVCC})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES OFF) # each object library below names its own
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know that nvcc speaks C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
  find_package(CUDAToolkit REQUIRED)
endif()
message(STATUS "CUDA: ${TESSERAE_CUDA}")
option(TESSERAE_HOPPER_ONLY "build CUDA code for Hopper alone" OFF)

# sm90_*.cu is for Hopper alone (sm_90a: wgmma, TMA), every other .cu for sm_80, sm_90 and, as PTX, what has no code of its
# own: the driver compiles that at the first start, which took half a minute on an H100.
macro(tesserae_add_cuda_libraries)
  file(GLOB_RECURSE sm90_sources CONFIGURE_DEPENDS ${native}/sm90_*.cu)
  file(GLOB_RECURSE sm80_sources CONFIGURE_DEPENDS ${native}/ops/*.cu)
  list(APPEND sm80_sources ${cuda_runtime_sources})
  if(sm90_sources)
    list(REMOVE_ITEM sm80_sources ${sm90_sources})
    # ptxas warns where it gives up what makes these kernels fast: wgmma in flight, registers moved between warpgroups.
    tesserae_add_cuda_library(tesserae_cuda_sm90a "${sm90_sources}" -gencode=arch=compute_90a,code=sm_90a
                              -Xptxas=--warning-as-error)
  endif()
  if(sm80_sources)
    set(chips -gencode=arch=compute_90,code=sm_90)
    if(NOT TESSERAE_HOPPER_ONLY)
      list(APPEND chips -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_80,code=compute_80)
    endif()
    tesserae_add_cuda_library(tesserae_cuda_sm80 "${sm80_sources}" ${chips})
  endif()
endmacro()

macro(tesserae_add_cuda_library name sources)
  add_library(${name} OBJECT ${sources})
  target_link_libraries(${name} PRIVATE tesserae_baseline)
  set(cuda_flags ${ARGN} --compress-mode=size -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers)
  target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_flags}>")
  list(APPEND object_libraries ${name})
endmacro()
