// expect: quire: router: a policy with moves needs `std::vector<Move> moves(const ClusterView&)` and
#include <string_view>
#include <vector>

#include <quire/engine/cluster.hpp>
#include <quire/router/least_outstanding.hpp>

// Says between which instances a request is to be moved, and not which one.
struct Mine : quire::router::LeastOutstanding {
  using LeastOutstanding::LeastOutstanding;
  std::vector<quire::Move> moves(const quire::ClusterView&) const { return {}; }
#ifdef QUIRE_FIXED
  std::size_t chosen(std::span<const quire::Movable>) const { return 0; }
#endif
};

int main() { quire::Cluster<Mine> cluster({}, {}); }
