#pragma once

#include <system_error>

namespace tesserae {

// Throws ERR_DEVICE unless the system lets the calling thread have a team of `count`, itself among them: the
// OpenMP runtime ends the whole process where it can't start one.
void requireThreads(int count);

// Throws ERR_DEVICE for a thread that could not be started.
[[noreturn]] void failThreads(const std::system_error& error);

}  // namespace tesserae
