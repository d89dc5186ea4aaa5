#include "engine/daemon/reply.h"

#include <ostream>  // Beast needs it

#include <boost/beast/http/status.hpp>

namespace atl {

namespace {

unsigned status_of(Code code) {
  switch (code) {
    case Code::invalid: return 400;
    case Code::not_permitted:
    case Code::access_denied: return 403;
    case Code::not_found: return 404;
    case Code::conflict: return 409;
    case Code::corrupt: return 410;
    case Code::too_large: return 413;
    case Code::busy:
    case Code::read_only:
    case Code::cancelled: return 503;
    case Code::no_space: return 507;
    default: return 500;
  }
}

}  // namespace

HttpReply answer_of(const Error& error) {
  HttpReply answer(status_of(error.code), error.what + "\n");
  answer.field("Content-Type", "text/plain");
  if (answer.status == 503) answer.field("Retry-After", error.code == Code::read_only ? "60" : "1");
  return answer;
}

std::string response_head(const HttpReply& answer, std::uint64_t length, bool close) {
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(answer.status));
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(reason) + "\r\n";
  for (const auto& [name, value] : answer.fields) head += name + ": " + value + "\r\n";
  // RFC 9110 forbids the length with 204; it is no body in any case.
  if (answer.status != 204) head += "Content-Length: " + std::to_string(length) + "\r\n";
  if (close) head += "Connection: close\r\n";
  head += "\r\n";
  return head;
}

}  // namespace atl
