// The one place where text becomes structure: parsed with limits, read with messages that name the field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tesserae {

using Json = nlohmann::json;

// Throws ERR_CONFIG for text over 64 MiB, nesting over 32 levels, duplicate keys or a syntax error.
// `what` names the text in messages.
Json parseJson(std::string_view text, const char* what);

// Readers of required and optional fields; `where` is the path of the object, for messages. They throw
// ERR_CONFIG.
const Json& field(const Json& object, const char* name, const std::string& where);
std::string textField(const Json& object, const char* name, const std::string& where);
int64_t integerField(const Json& object, const char* name, const std::string& where, int64_t low,
                     int64_t high);
double numberField(const Json& object, const char* name, const std::string& where);
bool flagField(const Json& object, const char* name, const std::string& where, bool otherwise);
const Json& arrayField(const Json& object, const char* name, const std::string& where, size_t most);
const Json& objectField(const Json& object, const char* name, const std::string& where);
// Throws ERR_CONFIG when the object has a key that is not in the list.
void onlyKeys(const Json& object, const std::string& where, std::initializer_list<const char*> known);

}  // namespace tesserae
