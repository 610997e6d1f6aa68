#include "ops/attributes.h"

#include "runtime/error.h"

namespace tesserae {

bool Attributes::has(const char* name) const { return values_.count(name) != 0; }

bool Attributes::flag(const char* name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return false;
  if (const bool* value = std::get_if<bool>(&it->second)) return *value;
  fail(ErrorCode::Config, "attribute '%s' must be true or false", name);
}

double Attributes::number(const char* name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) fail(ErrorCode::Config, "attribute '%s' is missing", name);
  if (const double* value = std::get_if<double>(&it->second)) return *value;
  if (const int64_t* value = std::get_if<int64_t>(&it->second)) return static_cast<double>(*value);
  fail(ErrorCode::Config, "attribute '%s' must be a number", name);
}

double Attributes::number(const char* name, double otherwise) const {
  return has(name) ? number(name) : otherwise;
}

int64_t Attributes::integer(const char* name, int64_t otherwise) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return otherwise;
  if (const int64_t* value = std::get_if<int64_t>(&it->second)) return *value;
  fail(ErrorCode::Config, "attribute '%s' must be an integer", name);
}

const char* Attributes::text(const char* name, const char* otherwise) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return otherwise;
  if (const std::string* value = std::get_if<std::string>(&it->second)) return value->c_str();
  fail(ErrorCode::Config, "attribute '%s' must be a string", name);
}

Attributes Attributes::with(const std::string& name, Value value) const {
  Attributes copy = *this;
  copy.values_[name] = std::move(value);
  return copy;
}

Attributes Attributes::without(const std::string& name) const {
  Attributes copy = *this;
  copy.values_.erase(name);
  return copy;
}

}  // namespace tesserae
