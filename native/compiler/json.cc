#include "compiler/json.h"

#include <cmath>
#include <set>

#include "runtime/error.h"

namespace tesserae {

namespace {
constexpr size_t kMostBytes = 64u << 20;
constexpr int kDeepest = 32;

[[noreturn]] void reject(const std::string& where, const char* name, const char* why) {
  fail(ErrorCode::Config, "%s.%s %s", where.c_str(), name, why);
}
}  // namespace

Json parseJson(std::string_view text, const char* what) {
  if (text.size() > kMostBytes) {
    fail(ErrorCode::Config, "%s is %zu bytes long; the limit is %zu", what, text.size(), kMostBytes);
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest) fail(ErrorCode::Config, "%s is nested deeper than %d levels", what, kDeepest);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      fail(ErrorCode::Config, "%s has the key '%s' twice", what, parsed.get<std::string>().c_str());
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::exception& error) {
    fail(ErrorCode::Config, "%s is not valid JSON: %s", what, error.what());
  }
}

const Json& field(const Json& object, const char* name, const std::string& where) {
  if (!object.is_object()) fail(ErrorCode::Config, "%s must be an object", where.c_str());
  const auto it = object.find(name);
  if (it == object.end()) reject(where, name, "is missing");
  return *it;
}

std::string textField(const Json& object, const char* name, const std::string& where) {
  const Json& value = field(object, name, where);
  if (!value.is_string()) reject(where, name, "must be a string");
  const std::string text = value.get<std::string>();
  if (text.empty() || text.size() > 256) reject(where, name, "must have 1 to 256 characters");
  return text;
}

int64_t integerField(const Json& object, const char* name, const std::string& where, int64_t low,
                     int64_t high) {
  const Json& value = field(object, name, where);
  const bool whole = value.is_number_integer() ||
                     (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>() &&
                      std::abs(value.get<double>()) < 9e15);
  if (!whole) reject(where, name, "must be an integer");
  // Unsigned values above the signed range would wrap around.
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : value.get<int64_t>();
  if (number < low || number > high) {
    fail(ErrorCode::Config, "%s.%s is %lld; it must be in [%lld, %lld]", where.c_str(), name,
         static_cast<long long>(number), static_cast<long long>(low), static_cast<long long>(high));
  }
  return number;
}

double numberField(const Json& object, const char* name, const std::string& where) {
  const Json& value = field(object, name, where);
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    reject(where, name, "must be a finite number");
  return value.get<double>();
}

bool flagField(const Json& object, const char* name, const std::string& where, bool otherwise) {
  if (!object.contains(name)) return otherwise;
  const Json& value = object[name];
  if (!value.is_boolean()) reject(where, name, "must be true or false");
  return value.get<bool>();
}

const Json& arrayField(const Json& object, const char* name, const std::string& where, size_t most) {
  const Json& value = field(object, name, where);
  if (!value.is_array()) reject(where, name, "must be an array");
  if (value.size() > most) {
    fail(ErrorCode::Config, "%s.%s has %zu entries; the limit is %zu", where.c_str(), name, value.size(),
         most);
  }
  return value;
}

const Json& objectField(const Json& object, const char* name, const std::string& where) {
  const Json& value = field(object, name, where);
  if (!value.is_object()) reject(where, name, "must be an object");
  return value;
}

void onlyKeys(const Json& object, const std::string& where, std::initializer_list<const char*> known) {
  if (!object.is_object()) fail(ErrorCode::Config, "%s must be an object", where.c_str());
  for (const auto& [key, value] : object.items()) {
    bool found = false;
    for (const char* name : known) found = found || key == name;
    if (!found) fail(ErrorCode::Config, "%s has an unknown key '%s'", where.c_str(), key.c_str());
  }
}

}  // namespace tesserae
