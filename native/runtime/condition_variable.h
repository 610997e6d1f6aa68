// defines: std::condition_variable, as the oldest systems with glibc 2.34 have it
#pragma once

#include <condition_variable>

// GCC 12 gave wait() a new version that differs in being noexcept. The C++ library of GCC 11, which such
// systems have, knows the old one alone.
__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
