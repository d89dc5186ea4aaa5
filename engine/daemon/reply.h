// What a request is answered with, and how an Error becomes a status. PROTOCOL.md, "Answers". Values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/result.h"

namespace atl {

struct HttpReply {
  unsigned status = 200;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  explicit HttpReply(unsigned status_ = 200, std::string body_ = {}) : status(status_), body(std::move(body_)) {}
  HttpReply& field(std::string name, std::string value) {
    fields.emplace_back(std::move(name), std::move(value));
    return *this;
  }
};

/// With one line for people, and Retry-After where trying again makes sense.
HttpReply answer_of(const Error& error);

/// The head of an HTTP/1.1 response, up to and with its empty line. `length` is its Content-Length.
std::string response_head(const HttpReply& answer, std::uint64_t length, bool close);

}  // namespace atl
