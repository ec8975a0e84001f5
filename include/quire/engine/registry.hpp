#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/engine/any_engine.hpp>
#include <quire/engine/axes.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/describe.hpp>
#include <quire/engine/serving_engine.hpp>

namespace quire {

/// One configuration of a registry: its identity, and how to make an engine of it over executor E.
template <class E>
struct Variant {
  std::string_view name;
  std::array<std::string, slot_count> slots;  // policy names, in the order of slot_names
  std::string_view incompatible;              // why it cannot run; empty when it can
  std::unique_ptr<AnyEngine> (*make)(const typename E::Options&) = nullptr;  // null when it cannot
};

/// The entry of one configuration; an incompatible one is listed with its reason and never built.
template <class E, class C>
[[nodiscard]] Variant<E> variant_of() {
  Variant<E> v{.name = C::name, .slots = slot_values<C>(), .incompatible = incompatible_because<C>};
  if constexpr (incompatible_because<C>.empty()) {
    v.make = [](const typename E::Options& options) -> std::unique_ptr<AnyEngine> {
      return std::make_unique<ErasedEngine<Engine<C, E>>>(options);
    };
  }
  return v;
}

/// Appends entries [first, first + count) of a list of configurations: what one generated
/// translation unit compiles.
template <class E, class List, std::size_t first, std::size_t count>
void append_variants(std::vector<Variant<E>>& out) {
  constexpr std::size_t end = first + count < List::size ? first + count : List::size;
  [&out]<std::size_t... I>(std::index_sequence<I...>) {
    (out.push_back(variant_of<E, at_t<first + I, List>>()), ...);
  }
  (std::make_index_sequence<end - first>{});
}

}  // namespace quire
