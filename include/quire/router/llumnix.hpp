#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <quire/router/choose.hpp>

namespace quire::router {

/// Dispatches to the instance whose memory lasts longest, and goes on moving running requests from
/// instances that run short, or whose queue's first request has no room, to those with room to spare:
/// the least free gives to the most free, the second least to the second most.
/// \complexity route O(instances), moves O(instances log instances).
/// \source Sun et al., "Llumnix", OSDI '24, sections 4.3 and 4.4. Deviation: no headroom for priorities,
/// no starting and stopping of instances.
class Llumnix {
 public:
  static constexpr std::string_view name = "llumnix";
  explicit Llumnix(const RouterOptions& options)
      : block_tokens_(options.block_tokens),
        give_below_(options.give_below),
        take_above_(options.take_above) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&](std::size_t i) {
      return -freeness(view.instances[i], view.instances[i].demand, block_tokens_);
    });
  }

  [[nodiscard]] std::vector<Move> moves(const ClusterView& view) const {
    std::vector<std::pair<double, std::size_t>> givers, takers;
    for (std::size_t i = 0; i < view.instances.size(); ++i) {
      const InstanceView& instance = view.instances[i];
      if (!instance.generates()) continue;
      // of the queue only its first counts: it is the one that cannot be helped otherwise
      const double f = freeness(instance, instance.head_demand, block_tokens_);
      if (f < give_below_ && instance.running > 0) {
        givers.emplace_back(f, i);
      } else if (f > take_above_ && instance.waiting == 0) {
        takers.emplace_back(-f, i);
      }
    }
    std::sort(givers.begin(), givers.end());
    std::sort(takers.begin(), takers.end());
    std::vector<Move> pairs;
    for (std::size_t k = 0; k < std::min(givers.size(), takers.size()); ++k) {
      pairs.push_back({givers[k].second, takers[k].second});
    }
    return pairs;
  }

  /// The least urgent, and of those the shortest, which is moved soonest.
  [[nodiscard]] std::size_t chosen(std::span<const Movable> candidates) const {
    const auto best = std::min_element(
        candidates.begin(), candidates.end(), [](const Movable& a, const Movable& b) {
          return std::tuple(-a.priority, a.context) < std::tuple(-b.priority, b.context);
        });
    return static_cast<std::size_t>(best - candidates.begin());
  }

 private:
  Tokens block_tokens_;
  double give_below_, take_above_;
};
static_assert(MigratingRouter<Llumnix>);

}  // namespace quire::router
