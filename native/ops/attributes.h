#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace tesserae {

// The settings of one operation call: few, small, fixed when a Program is compiled. The accessors are out of
// line, so kernels compiled for several instruction sets may call them.
class Attributes {
 public:
  using Value = std::variant<bool, int64_t, double, std::string>;

  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, Value>> list) : values_(list) {}

  bool has(const char* name) const;
  bool flag(const char* name) const;      // false when absent
  double number(const char* name) const;  // throws ERR_CONFIG when absent
  double number(const char* name, double otherwise) const;
  int64_t integer(const char* name, int64_t otherwise) const;
  const char* text(const char* name, const char* otherwise = "") const;
  // The same attributes with one set.
  Attributes with(const std::string& name, Value value) const;
  Attributes without(const std::string& name) const;
  const std::map<std::string, Value>& all() const { return values_; }
  bool operator==(const Attributes&) const = default;

 private:
  std::map<std::string, Value> values_;
};

}  // namespace tesserae
