#include "runtime/error.h"

#include <cstdarg>
#include <cstdio>

namespace tesserae {

const char* codeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::Config:
      return "ERR_CONFIG";
    case ErrorCode::Shape:
      return "ERR_SHAPE";
    case ErrorCode::Data:
      return "ERR_DATA";
    case ErrorCode::Device:
      return "ERR_DEVICE";
    case ErrorCode::OutOfMemory:
      return "ERR_OUT_OF_MEMORY";
    case ErrorCode::Busy:
      return "ERR_BUSY";
    case ErrorCode::Disposed:
      return "ERR_DISPOSED";
    case ErrorCode::Distributed:
      return "ERR_DISTRIBUTED";
    case ErrorCode::Internal:
      return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

void fail(ErrorCode code, const char* format, ...) {
  char message[2048];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  throw Error(code, message);
}

}  // namespace tesserae
