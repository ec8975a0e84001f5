#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/model_pool/concepts.hpp>

namespace quire::model_pool {

/// Models that are sizes, whose starts take as long as rates say.
class Simulated {
 public:
  struct Model {};
  Simulated(std::vector<Bytes> sizes, StartRates rates) : sizes_(std::move(sizes)), rates_(rates) {}

  [[nodiscard]] std::size_t count() const { return sizes_.size(); }
  [[nodiscard]] std::string name(std::size_t i) const { return "model " + std::to_string(i); }
  [[nodiscard]] Bytes bytes(std::size_t i) const { return sizes_[i]; }
  [[nodiscard]] Seconds start_cost(std::size_t i) const { return rates_.cost(sizes_[i]); }
  [[nodiscard]] Started<Model> start(std::size_t i) const { return {{}, start_cost(i)}; }

 private:
  std::vector<Bytes> sizes_;
  StartRates rates_;
};
static_assert(ModelSource<Simulated>);

}  // namespace quire::model_pool
