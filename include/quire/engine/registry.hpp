#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/engine/any_engine.hpp>
#include <quire/engine/axes.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/describe.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/scheduler/concepts.hpp>

namespace quire {

/// One configuration of a registry: its identity, and how to make an engine of it over executor E.
template <class E>
struct Variant {
  std::string_view name;
  std::array<std::string, slot_count> slots;  // policy names, in the order of slot_names
  std::string_view incompatible;              // why it cannot run; empty when it can
  std::unique_ptr<AnyEngine> (*make)(const typename E::Options&) = nullptr;  // null when it cannot
  /// What its scheduler says that it reads of its limits (quire/scheduler/concepts.hpp), if it does.
  std::optional<std::span<const std::string_view>> scheduler_reads{};
  /// Why it cannot run with a KV format that the options choose; null where they choose none.
  std::string_view (*with_kv_format)(const kv_format::KvCodec&) = nullptr;
};

/// The entry of one configuration; an incompatible one is listed with its reason and never built.
template <class E, class C>
[[nodiscard]] Variant<E> variant_of() {
  Variant<E> v{.name = C::name, .slots = slot_values<C>(), .incompatible = incompatible_because<C>};
  v.scheduler_reads = limits_read_by<typename C::Scheduler>();
  if constexpr (incompatible_because<C>.empty()) {
    v.make = [](const typename E::Options& options) -> std::unique_ptr<AnyEngine> {
      return std::make_unique<ErasedEngine<Engine<C, E>>>(options);
    };
    if constexpr (requires(const kv_format::KvCodec& codec) { E::template refusal<C>(codec); }) {
      v.with_kv_format = &E::template refusal<C>;
    }
  }
  return v;
}

namespace detail {

/// Two configurations under one name cannot be told apart in a table: named here, the compiler shows
/// which two.
template <class A, class B, bool same = (std::string_view(A::name) == std::string_view(B::name))>
struct NamesDiffer {
  static_assert(
      !same,
      "quire: two variants of the list have the same name; give each struct its own "
      "`static constexpr std::string_view name`, since a derived one inherits its base's");
  static constexpr bool value = !same;
};
template <class List>
struct EveryNameDiffers;
template <class... Cs>
struct EveryNameDiffers<type_list<Cs...>> {
  static constexpr std::size_t size = sizeof...(Cs);
  /// Indices of the first two with one name; {size, size} when there are none.
  static constexpr std::pair<std::size_t, std::size_t> same = [] {
    constexpr std::array<std::string_view, size> names{std::string_view(Cs::name)...};
    for (std::size_t b = 1; b < size; ++b) {
      for (std::size_t a = 0; a < b; ++a) {
        if (names[a] == names[b]) return std::pair{a, b};
      }
    }
    return std::pair{size, size};
  }();
  static constexpr bool value = [] {
    if constexpr (same.first < size) {
      using Pair =
          NamesDiffer<at_t<same.first, type_list<Cs...>>, at_t<same.second, type_list<Cs...>>>;
      return Pair::value;
    }
    return true;
  }();
};

}  // namespace detail

/// Stops compilation, and shows both numbers, where a list is longer or shorter than its build file
/// says.
template <std::size_t in_the_list, std::size_t given>
struct VariantCount {
  static_assert(in_the_list == given,
                "quire: COUNT differs from the list; write the first number of VariantCount<...>");
  static constexpr bool value = true;
};

/// Appends entries [first, first + count) of a list of configurations: what one generated
/// translation unit compiles. Two entries of one name are refused by the compiler.
template <class E, class List, std::size_t first, std::size_t count>
void append_variants(std::vector<Variant<E>>& out) {
  static_assert(first > 0 || detail::EveryNameDiffers<List>::value);
  constexpr std::size_t end = first + count < List::size ? first + count : List::size;
  [&out]<std::size_t... I>(std::index_sequence<I...>) {
    (out.push_back(variant_of<E, at_t<first + I, List>>()), ...);
  }
  (std::make_index_sequence<end - first>{});
}

}  // namespace quire
