#include <vector>

#include <experiments/eviction_under_pressure/axes.hpp>
#include <experiments/eviction_under_pressure/policy.hpp>

namespace quire::eviction_lab {

std::vector<Policy> house_policies() {
  std::vector<Policy> policies;
  for_each_type(experiment::Policies{}, [&]<class P>() { policies.push_back(policy<P>()); });
  return policies;
}

}  // namespace quire::eviction_lab
