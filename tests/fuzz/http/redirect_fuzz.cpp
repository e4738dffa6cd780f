// SPDX-License-Identifier: Apache-2.0
// Any bytes as a request to the listener for plain HTTP. Beyond memory safety: what is decided of a
// part of the bytes stays so with all of them, a head ends within its limit, and nothing of a
// request gets into a response that could end its line or lead elsewhere.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/assert.hpp"
#include "http/redirect.hpp"
#include "http/response.hpp"

namespace {

using namespace mc::http;

void check_location(std::string_view location) {
  MC_ASSERT(location.starts_with("https://"), "a Location is of https");
  const auto is_harmless = [](char c) {
    return c > ' ' && c < '\x7f' && !std::string_view("\"<>\\^`{|}#[]").contains(c);
  };
  MC_ASSERT(std::ranges::all_of(location, is_harmless), "a Location is one URI");
  const auto host = location.substr(8, location.find('/', 8) - 8);
  const auto name = mc::tls::HostName::from(host.substr(0, host.find(':')));
  MC_ASSERT(name.has_value() && host == std::string(name->view()) + ":8443", "a name and its port");
  const Field field = {"Location", location};
  const std::string text = response(Status::kPermanentRedirect, {&field, 1}, "");
  MC_ASSERT(std::ranges::count(text, '\n') == 5, "a response has the lines that it was given");
}

void check_head(std::string_view bytes, const RequestHead& head) {
  MC_ASSERT(head.size <= bytes.size() && head.size <= kHeadBytesMax, "a head within its limit");
  MC_ASSERT(bytes.substr(0, head.size).ends_with("\r\n\r\n"), "a head ends with an empty line");
  MC_ASSERT(bytes.find("\r\n\r\n") + 4 == head.size, "a head ends with the first empty line");
  const auto decision = decide_redirect(
      head, {.tls_port = 8443, .takes_challenges = true, .has_route = [](const mc::tls::HostName&) {
               return true;
             }});
  if (const auto* const to = std::get_if<Redirect>(&decision)) check_location(to->location);
}

// The same for two results exactly if they are the same decision.
int number_of(const HeadResult& result) {
  const auto* const malformed = std::get_if<Malformed>(&result);
  if (malformed != nullptr) return -static_cast<int>(malformed->status);
  const auto* const head = std::get_if<RequestHead>(&result);
  return head == nullptr ? 0 : static_cast<int>(head->size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const HeadResult whole = parse_request_head(bytes);
  MC_ASSERT(size < kHeadBytesMax || number_of(whole) != 0, "a full buffer has a result");
  // Not of every size: the time would grow with the square of it.
  const std::size_t end = std::min(size, kHeadBytesMax + 2);
  for (std::size_t part = 0; part < end; part += 1 + part / 64) {
    // A copy, so that a read past the part is a read past its memory.
    const std::string copy(bytes.substr(0, part));
    const int early = number_of(parse_request_head(copy));
    MC_ASSERT(early == 0 || early == number_of(whole), "a part agrees with the whole");
  }
  if (const auto* const head = std::get_if<RequestHead>(&whole)) check_head(bytes, *head);
  return 0;
}
