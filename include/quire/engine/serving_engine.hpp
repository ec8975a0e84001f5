#pragma once

#include <type_traits>
#include <utility>

#include <quire/engine/control_plane.hpp>
#include <quire/engine/explain.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/memory/contiguous_memory.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/memory/retained_memory.hpp>

namespace quire {

namespace detail {

/// The executor of configuration C: what E::bind<C> returns, where E lets configurations share one
/// class, else E::Bound<C>.
template <class C, class E>
[[nodiscard]] auto bind_executor(const typename E::Options& options, const KvGeometry& geometry) {
  if constexpr (requires { E::template bind<C>(options, geometry); }) {
    return E::template bind<C>(options, geometry);
  } else {
    return typename E::template Bound<C>(options, geometry);
  }
}

template <class C>
struct MemoryFor {
  using type = std::conditional_t<C::Reservation::contiguous, ContiguousMemory<C>, PagedMemory<C>>;
};
template <class C>
requires DroppingPolicy<typename C::Retention> &&(!C::Reservation::contiguous) struct MemoryFor<C> {
  using type = RetainedMemory<typename C::Eviction, typename C::Retention, typename C::BlockSize>;
};
template <class C>
using MemoryOf = typename MemoryFor<C>::type;

template <class C, class E>
using ExecutorOf = decltype(bind_executor<C, E>(std::declval<const typename E::Options&>(),
                                                std::declval<const KvGeometry&>()));

template <class C, class E>
using ControlPlaneOf = ControlPlane<MemoryOf<C>, typename C::Scheduler, typename C::Offload,
                                    ExecutorOf<C, E>, speculation_of<C>>;

/// The control plane of C over E. A class of its own between Engine and ControlPlane, so that a
/// compiler looks into it only after explain::Configuration<C> has found nothing to say.
template <class C, class E>
class Composed : public ControlPlaneOf<C, E> {
 public:
  explicit Composed(const typename E::Options& options)
      : ControlPlaneOf<C, E>(E::shape(options), options.limits, E::template geometry<C>(options),
                             [&options](const KvGeometry& geometry) {
                               return bind_executor<C, E>(options, geometry);
                             }) {}
};

}  // namespace detail

/// One serving engine: the control plane that configuration C composes, over executor E.
/// Members are ControlPlane's. A configuration that does not fit is refused by the compiler, with one
/// sentence that names the slot and the fix.
/// \errors as ControlPlane; and what E's options and geometry refuse.
template <class C, class E>
class Engine : explain::Configuration<C>, public detail::Composed<C, E> {
 public:
  using Config = C;
  explicit Engine(const typename E::Options& options) : detail::Composed<C, E>(options) {}
};

}  // namespace quire
