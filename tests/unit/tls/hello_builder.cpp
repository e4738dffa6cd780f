// SPDX-License-Identifier: Apache-2.0
#include "unit/tls/hello_builder.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

// The build names the checkout; a program compiled by hand is run from there.
#ifndef MC_SOURCE_ROOT
#define MC_SOURCE_ROOT "."
#endif

namespace mc::tls::testing {
namespace {

Bytes u8(std::size_t value) { return {static_cast<std::uint8_t>(value)}; }

std::string hex(std::uint16_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[value >> shift & 0xf];
  return text;
}

}  // namespace

Bytes bytes(std::string_view text) { return {text.begin(), text.end()}; }

Bytes u16(std::size_t value) { return join({u8(value >> 8), u8(value)}); }

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes joined;
  for (const auto& part : parts) joined.insert(joined.end(), part.begin(), part.end());
  return joined;
}

Bytes vector8(const Bytes& body) { return join({u8(body.size()), body}); }

Bytes vector16(const Bytes& body) { return join({u16(body.size()), body}); }

Bytes record(const Bytes& payload, std::uint8_t type, std::uint16_t version) {
  return join({u8(type), u16(version), vector16(payload)});
}

Bytes handshake(const Bytes& body, std::uint8_t type) {
  return join({u8(type), u8(body.size() >> 16), u16(body.size()), body});
}

// Without record(), whose allocations would be most of a fuzzer's time for records of one byte.
Bytes in_records(std::span<const std::uint8_t> message, std::size_t payload_max) {
  Bytes stream;
  while (!message.empty()) {
    const auto payload = message.first(std::min(payload_max, message.size()));
    message = message.subspan(payload.size());
    const std::array<std::uint8_t, 5> header = {kHandshakeRecord, 3, 1,
                                                static_cast<std::uint8_t>(payload.size() >> 8),
                                                static_cast<std::uint8_t>(payload.size())};
    stream.insert(stream.end(), header.begin(), header.end());
    stream.insert(stream.end(), payload.begin(), payload.end());
  }
  return stream;
}

Bytes in_two_records(const Bytes& message, std::size_t cut) {
  const auto middle = message.begin() + static_cast<std::ptrdiff_t>(cut);
  return join({record({message.begin(), middle}), record({middle, message.end()})});
}

Bytes server_name_body(std::string_view name, std::uint8_t name_type) {
  return vector16(join({u8(name_type), vector16(bytes(name))}));
}

HelloBuilder& HelloBuilder::legacy_version(std::uint16_t version) {
  legacy_version_ = version;
  return *this;
}

HelloBuilder& HelloBuilder::session_id(Bytes id) {
  session_id_ = std::move(id);
  return *this;
}

HelloBuilder& HelloBuilder::cipher_suites(Bytes suites) {
  cipher_suites_ = std::move(suites);
  return *this;
}

HelloBuilder& HelloBuilder::compression_methods(Bytes methods) {
  compression_methods_ = std::move(methods);
  return *this;
}

HelloBuilder& HelloBuilder::no_extension_block() {
  extensions_.reset();
  return *this;
}

HelloBuilder& HelloBuilder::extension(std::size_t type, const Bytes& body) {
  if (!extensions_) extensions_.emplace();
  std::ranges::copy(join({u16(type), vector16(body)}), std::back_inserter(*extensions_));
  return *this;
}

HelloBuilder& HelloBuilder::server_name(std::string_view name) {
  return extension(0, server_name_body(name));
}

HelloBuilder& HelloBuilder::alpn(std::initializer_list<std::string_view> protocols) {
  Bytes list;
  for (const auto protocol : protocols) list = join({list, vector8(bytes(protocol))});
  return extension(16, vector16(list));
}

HelloBuilder& HelloBuilder::supported_versions(std::initializer_list<std::uint16_t> versions) {
  Bytes list;
  for (const auto version : versions) list = join({list, u16(version)});
  return extension(43, vector8(list));
}

HelloBuilder& HelloBuilder::padded_to(std::size_t size) {
  return extension(21, Bytes(size - message().size() - 4));
}

Bytes HelloBuilder::body() const {
  const Bytes random(32, 0xaa);
  return join({u16(legacy_version_), random, vector8(session_id_), vector16(cipher_suites_),
               vector8(compression_methods_), extensions_ ? vector16(*extensions_) : Bytes()});
}

HelloBuilder typical_hello(std::string_view name) {
  return HelloBuilder()
      .server_name(name)
      .alpn({"h2", "http/1.1"})
      .supported_versions({0x0304, 0x0303});
}

HelloBuilder chrome_like_hello(std::string_view name) {
  const auto key_share = [](std::size_t group, std::size_t size) {
    return join({u16(group), vector16(Bytes(size, 0x77))});
  };
  const auto shares = join({key_share(0x8a8a, 1), key_share(0x11ec, 1216), key_share(0x001d, 32)});
  const auto ech = join({{0, 0, 1, 0, 1, 0x42}, vector16(Bytes(32, 1)), vector16(Bytes(176, 2))});
  HelloBuilder hello;
  hello.cipher_suites(Bytes(32, 0x1a))
      .extension(0x4a4a)
      .extension(17613, {0, 3, 2, 'h', '2'})
      .extension(0x0033, vector16(shares))
      .extension(0x0023)
      .server_name(name)
      .extension(0x001b, {2, 0, 2})
      .extension(0x0005, {1, 0, 0, 0, 0})
      .alpn({"h2", "http/1.1"})
      .extension(0xfe0d, ech)
      .extension(0x000d, vector16(Bytes(16, 4)))
      .extension(0x0017)
      .extension(0x000a, vector16({0x8a, 0x8a, 0x11, 0xec, 0, 0x1d, 0, 0x17, 0, 0x18}))
      .extension(0x0012)
      .extension(0x000b, {1, 0})
      .supported_versions({0xfafa, 0x0304, 0x0303})
      .extension(0x002d, {1, 1})
      .extension(0xff01, {0})
      .extension(0x6a6a, {0});
  return hello;
}

Bytes corpus_file(std::string_view name) {
  const auto path =
      std::filesystem::path(MC_SOURCE_ROOT) / "tests/fuzz/tls/client_hello_corpus" / name;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string describe(const ParseResult& result) {
  if (const auto* reject = std::get_if<Reject>(&result)) return std::string(to_string(*reject));
  if (const auto* incomplete = std::get_if<Incomplete>(&result)) {
    return "incomplete " + std::to_string(incomplete->needed);
  }
  const auto& hello = std::get<ClientHello>(result);
  std::string text(hello.server_name.view());
  text += " alpn=";
  for (std::string_view separator; const auto protocol : hello.alpn) {
    text.append(separator).append(protocol);
    separator = ",";
  }
  text += " versions=" + hex(hello.legacy_version) + "/" + hex(hello.highest_version);
  if (hello.ech_offered) text += " ech";
  return text;
}

}  // namespace mc::tls::testing
