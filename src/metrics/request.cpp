// SPDX-License-Identifier: Apache-2.0
#include "metrics/request.hpp"

#include <fmt/format.h>

#include "metrics/limits.hpp"

namespace mc::metrics {
namespace {

std::string_view status_of(RequestKind request) {
  switch (request) {
    case RequestKind::kScrape:
      return "200 OK";
    case RequestKind::kElsewhere:
      return "404 Not Found";
    case RequestKind::kOtherMethod:
      return "405 Method Not Allowed\r\nAllow: GET";
    case RequestKind::kTooLarge:
      return "431 Request Header Fields Too Large";
    case RequestKind::kIncomplete:
    case RequestKind::kMalformed:
      break;
  }
  return "400 Bad Request";
}

}  // namespace

RequestKind read_request(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, kRequestBytesMax);
  if (!head.contains("\r\n\r\n")) {
    return bytes.size() < kRequestBytesMax ? RequestKind::kIncomplete : RequestKind::kTooLarge;
  }
  const std::string_view line = bytes.substr(0, bytes.find("\r\n"));
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == line.npos || first == last) return RequestKind::kMalformed;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return RequestKind::kMalformed;
  if (method.empty() || target.empty() || target.contains(' ')) return RequestKind::kMalformed;
  if (method != "GET") return RequestKind::kOtherMethod;
  return target.substr(0, target.find('?')) == "/metrics" ? RequestKind::kScrape
                                                          : RequestKind::kElsewhere;
}

std::string head_of_answer(RequestKind request, std::size_t body_bytes) {
  // The version is that of Prometheus's text format.
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n",
      status_of(request), body_bytes);
}

std::string_view body_of(RequestKind request) {
  switch (request) {
    case RequestKind::kElsewhere:
      return "The metrics are at /metrics.\n";
    case RequestKind::kOtherMethod:
      return "Only GET /metrics is served.\n";
    case RequestKind::kTooLarge:
      return "The head of the request is too large.\n";
    default:
      return "This is not an HTTP/1.1 request.\n";
  }
}

}  // namespace mc::metrics
