#include <type_traits>
#include <vector>

#include <experiments/retention/axes.hpp>
#include <experiments/retention/policy.hpp>

namespace quire::retention_lab {
namespace {
template <class P, class... Ts>
constexpr bool one_of(type_list<Ts...>) {
  return (std::is_same_v<P, Ts> || ...);
}
}  // namespace

std::vector<Policy> house_policies() {
  std::vector<Policy> policies;
  for_each_type(experiment::Retentions{}, [&]<class P>() {
    policies.push_back(policy<P, 16, one_of<P>(experiment::ServedRetentions{})>());
  });
  policies.push_back(policy<retention::Quest, 4, false>());
  return policies;
}

}  // namespace quire::retention_lab
