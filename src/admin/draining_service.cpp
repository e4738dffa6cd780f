// SPDX-License-Identifier: Apache-2.0
#include "admin/draining_service.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "admin/translate.hpp"

namespace mc::admin {

namespace internal = mc_proxy::internal::v1;

grpc::Status DrainingService::CutConnections(grpc::ServerContext*,
                                             const internal::CutConnectionsRequest* request,
                                             internal::CutConnectionsResponse*) {
  std::vector<control::Rule> rules;
  for (const mc_proxy::v1::FirewallRule& one : request->rules()) {
    const auto [type, value] = to_control(one);
    if (type == control::RuleType::kUnspecified) return invalid_argument("rules", "no type");
    auto rule = control::Rule::parse(type, value);
    if (!rule.has_value()) return invalid_argument("rules", rule.error().message);
    rules.push_back(*std::move(rule));
  }
  control_.cut(rules);
  return grpc::Status::OK;
}

grpc::Status DrainingService::Stop(grpc::ServerContext*, const internal::StopRequest* request,
                                   internal::StopResponse*) {
  const auto& within = request->within();
  const auto time =
      std::chrono::seconds(within.seconds()) + std::chrono::nanoseconds(within.nanos());
  stop_(std::max(std::chrono::duration_cast<std::chrono::milliseconds>(time),
                 std::chrono::milliseconds(0)));
  return grpc::Status::OK;
}

}  // namespace mc::admin
