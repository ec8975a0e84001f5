// expect: quire: router: the policy has no `std::size_t route(const Request&, const ClusterView&)`
#include <optional>
#include <string_view>

#include <quire/engine/cluster.hpp>
#include <quire/router/least_outstanding.hpp>

// Nothing where no instance will do, where the concept asks for an instance.
struct Mine : quire::router::LeastOutstanding {
  using LeastOutstanding::LeastOutstanding;
#ifndef QUIRE_FIXED
  std::optional<std::size_t> route(const quire::Request&, const quire::ClusterView&) const {
    return 0;
  }
#endif
};

int main() { quire::Cluster<Mine> cluster({}, {}); }
