#pragma once

#include <stdexcept>
#include <string>

namespace tesserae {

// The stable codes of native errors; lib/errors.ts has all.
enum class ErrorCode {
  Config,       // ERR_CONFIG: a value in a Graph or in options
  Shape,        // ERR_SHAPE: axes that do not fit together
  Data,         // ERR_DATA: contents of a batch, such as a token id out of range
  Device,       // ERR_DEVICE: a device that is not there or cannot do what is asked, threads that the system
                // denies
  OutOfMemory,  // ERR_OUT_OF_MEMORY
  Busy,         // ERR_BUSY: a second call on an object that is running one
  Disposed,     // ERR_DISPOSED
  Distributed,  // ERR_DISTRIBUTED: another rank failed
  Internal,     // ERR_INTERNAL: a mistake in tesserae itself
};

const char* codeName(ErrorCode code);

// What every failure in native code throws. The message names the value, what is allowed and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code(code) {}
  ErrorCode code;
};

// Throws Error with a printf-formatted message.
[[noreturn]] void fail(ErrorCode code, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace tesserae
