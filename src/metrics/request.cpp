// SPDX-License-Identifier: Apache-2.0
#include "metrics/request.hpp"

#include <array>
#include <span>
#include <variant>

#include "http/request_head.hpp"
#include "http/response.hpp"

namespace mc::metrics {
namespace {

http::Status status_of(RequestKind request) {
  switch (request) {
    case RequestKind::kScrape:
      return http::Status::kOk;
    case RequestKind::kElsewhere:
      return http::Status::kNotFound;
    case RequestKind::kOtherMethod:
      return http::Status::kMethodNotAllowed;
    case RequestKind::kTooLarge:
      return http::Status::kHeaderFieldsTooLarge;
    case RequestKind::kIncomplete:
    case RequestKind::kMalformed:
      break;
  }
  return http::Status::kBadRequest;
}

RequestKind kind_of(const http::RequestHead& head) {
  if (head.method != "GET") return RequestKind::kOtherMethod;
  const bool is_metrics = head.target.substr(0, head.target.find('?')) == "/metrics";
  return is_metrics ? RequestKind::kScrape : RequestKind::kElsewhere;
}

RequestKind kind_of(http::Malformed malformed) {
  const bool is_large = malformed.status == http::Status::kUriTooLong ||
                        malformed.status == http::Status::kHeaderFieldsTooLarge;
  return is_large ? RequestKind::kTooLarge : RequestKind::kMalformed;
}

RequestKind kind_of(http::Incomplete /*unused*/) { return RequestKind::kIncomplete; }

}  // namespace

RequestKind read_request(std::string_view bytes) {
  return std::visit([](const auto& result) { return kind_of(result); },
                    http::parse_request_head(bytes));
}

std::string head_of_answer(RequestKind request, std::size_t body_bytes) {
  // The version is that of Prometheus's text format.
  constexpr http::Field kType = {"Content-Type", "text/plain; version=0.0.4; charset=utf-8"};
  constexpr auto kFields = std::to_array<http::Field>({{"Allow", "GET"}, kType});
  const auto fields = std::span(kFields);
  return http::response_head(status_of(request),
                             request == RequestKind::kOtherMethod ? fields : fields.last(1),
                             body_bytes);
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
