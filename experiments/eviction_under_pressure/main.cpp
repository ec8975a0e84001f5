// Hit ratios of every eviction policy under pressure. README.md says what is run and why.
#include <experiments/eviction_under_pressure/policy.hpp>

int main(int argc, char** argv) {
  return quire::eviction_lab::run(argc, argv, quire::eviction_lab::house_policies());
}
