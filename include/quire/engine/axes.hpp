#pragma once

#include <cstddef>
#include <type_traits>

#include <quire/core/type_list.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>

namespace quire {

/// One slot and the policies tried in it: axis<set_eviction, Fifo, Lru, Sieve>.
template <template <class> class Set, class... Policies>
struct axis {
  using changes = type_list<Set<Policies>...>;
};

namespace detail {

template <class Base, class Change>
using OneChange = std::conditional_t<changed_slots<with<Base, Change>, Base> == Slot::none,
                                     type_list<>, type_list<with<Base, Change>>>;

template <class Base, class Changes>
struct ChangesOfAxis;
template <class Base, class... Changes>
struct ChangesOfAxis<Base, type_list<Changes...>> {
  using type = concat_t<type_list<>, OneChange<Base, Changes>...>;
};

template <class Configs, class Changes>
struct Cross;
template <class... Configs, class... Changes>
struct Cross<type_list<Configs...>, type_list<Changes...>> {
  template <class Config>
  using row = type_list<with<Config, Changes>...>;
  using type = concat_t<type_list<>, row<Configs>...>;
};

template <class Configs, class... Axes>
struct Factorial {
  using type = Configs;
};
template <class Configs, class Axis, class... Rest>
struct Factorial<Configs, Axis, Rest...> {
  using type =
      typename Factorial<typename Cross<Configs, typename Axis::changes>::type, Rest...>::type;
};

template <std::size_t I, class List>
struct At;
template <class T, class... Ts>
struct At<0, type_list<T, Ts...>> {
  using type = T;
};
template <std::size_t I, class T, class... Ts>
struct At<I, type_list<T, Ts...>> : At<I - 1, type_list<Ts...>> {};

}  // namespace detail

/// Base, then every configuration that differs from it in exactly one slot: what an ablation table
/// shows. A policy that Base has already gives no second copy of Base.
template <class Base, class... Axes>
using one_at_a_time =
    concat_t<type_list<Base>,
             typename detail::ChangesOfAxis<Base, typename Axes::changes>::type...>;

/// Every combination of the axes' policies; grows as the product of their sizes.
template <class Base, class... Axes>
using full_factorial = typename detail::Factorial<type_list<Base>, Axes...>::type;

/// The i-th type of a list.
template <std::size_t I, class List>
using at_t = typename detail::At<I, List>::type;

}  // namespace quire
