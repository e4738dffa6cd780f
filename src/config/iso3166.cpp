// SPDX-License-Identifier: Apache-2.0
#include "config/iso3166.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace mc::config {
namespace {

// ISO 3166-1:2020 as of 2026: 249 assigned codes, and XK. In rows by first letter.
constexpr std::string_view kCodes =
    "ADAEAFAGAIALAMAOAQARASATAUAWAXAZ"
    "BABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZ"
    "CACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZ"
    "DEDJDKDMDODZ"
    "ECEEEGEHERESET"
    "FIFJFKFMFOFR"
    "GAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGY"
    "HKHMHNHRHTHU"
    "IDIEILIMINIOIQIRISIT"
    "JEJMJOJP"
    "KEKGKHKIKMKNKPKRKWKYKZ"
    "LALBLCLILKLRLSLTLULVLY"
    "MAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZ"
    "NANCNENFNGNINLNONPNRNUNZ"
    "OM"
    "PAPEPFPGPHPKPLPMPNPRPSPTPWPY"
    "QA"
    "RERORSRURW"
    "SASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZ"
    "TCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZ"
    "UAUGUMUSUYUZ"
    "VAVCVEVGVIVNVU"
    "WFWS"
    "XK"
    "YEYT"
    "ZAZMZW";

constexpr std::size_t kCount = kCodes.size() / 2;
static_assert(kCodes.size() % 2 == 0 && kCount == 249 + 1, "a code is missing or there twice");

constexpr std::array<std::string_view, kCount> kTable = [] {
  std::array<std::string_view, kCount> table;
  for (std::size_t i = 0; i < kCount; ++i) table[i] = kCodes.substr(2 * i, 2);
  return table;
}();
static_assert(std::ranges::is_sorted(kTable), "is_country() searches it");

}  // namespace

bool is_country(std::string_view code) { return std::ranges::binary_search(kTable, code); }

std::string_view meant_country(std::string_view code) {
  if (code == "UK") return "GB";
  if (code == "EL") return "GR";  // the European Union's code for Greece
  return {};
}

}  // namespace mc::config
