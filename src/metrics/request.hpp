// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the metrics endpoint returns for a request: the metrics, or a line for a person. Pure; any
// thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace mc::metrics {

/// What a client requests.
enum class RequestKind : std::uint8_t {
  kIncomplete,   // the head of the request has not ended
  kScrape,       // GET /metrics
  kElsewhere,    // GET of another path
  kOtherMethod,  // anything but GET
  kMalformed,    // not HTTP/1.0 or 1.1
  kTooLarge,     // a head of more than http::kHeadBytesMax
};

/// Reads the bytes that a client has sent so far.
RequestKind read_request(std::string_view bytes);

/// The response to a complete request up to its body, with the empty line. `body_bytes` is the size
/// of body_of() or, for kScrape, of the metrics.
std::string head_of_answer(RequestKind request, std::size_t body_bytes);

/// The body for a person, for any request but a scrape.
std::string_view body_of(RequestKind request);

}  // namespace mc::metrics
