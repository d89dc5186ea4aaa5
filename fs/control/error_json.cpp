#include "fs/control/error_json.h"

#include <nlohmann/json.hpp>

namespace atl {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::failed: return "failed";
    case Code::io: return "io";
    case Code::corrupt: return "corrupt";
    case Code::not_found: return "not_found";
    case Code::exists: return "exists";
    case Code::not_directory: return "not_directory";
    case Code::is_directory: return "is_directory";
    case Code::not_empty: return "not_empty";
    case Code::no_attribute: return "no_attribute";
    case Code::too_small: return "too_small";
    case Code::name_too_long: return "name_too_long";
    case Code::too_large: return "too_large";
    case Code::too_many_links: return "too_many_links";
    case Code::invalid: return "invalid";
    case Code::not_permitted: return "not_permitted";
    case Code::access_denied: return "access_denied";
    case Code::read_only: return "read_only";
    case Code::fenced: return "fenced";
    case Code::no_space: return "no_space";
    case Code::unsupported: return "unsupported";
    case Code::newer_format: return "newer_format";
    case Code::conflict: return "conflict";
    case Code::unavailable: return "unavailable";
    case Code::too_few_nodes: return "too_few_nodes";
    case Code::timed_out: return "timed_out";
    case Code::cancelled: return "cancelled";
    case Code::busy: return "busy";
    case Code::key: return "key";
  }
  return "failed";
}

Code code_from_name(std::string_view name) {
  for (int code = 0; code <= static_cast<int>(Code::key); ++code)
    if (code_name(static_cast<Code>(code)) == name) return static_cast<Code>(code);
  return Code::failed;
}

nlohmann::json to_json(const Error& error) {
  return {{"code", code_name(error.code)}, {"what", error.what}, {"hint", error.hint}};
}

Error error_from_json(const nlohmann::json& json) {
  const auto text = [&](const char* key) -> std::string {
    if (!json.is_object()) return {};
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return Error(code_from_name(text("code")), text("what"), text("hint"));
}

}  // namespace atl
