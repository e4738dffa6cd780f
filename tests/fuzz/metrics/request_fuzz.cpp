// SPDX-License-Identifier: Apache-2.0
// The head of a request to the metrics endpoint: any bytes, and the same without the last one.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.hpp"
#include "metrics/request.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mc::metrics::RequestKind;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const RequestKind request = mc::metrics::read_request(bytes);
  MC_ASSERT(request != RequestKind::kScrape || bytes.starts_with("GET /metrics"),
            "only one request is a scrape");
  // Later bytes do not change a decision.
  if (size > 0) {
    const RequestKind before = mc::metrics::read_request(bytes.substr(0, size - 1));
    MC_ASSERT(before == RequestKind::kIncomplete || before == request, "a decision stays");
  }
  return 0;
}
