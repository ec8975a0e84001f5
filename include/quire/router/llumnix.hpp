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
/// Urgent requests keep room around them: an instance that has any counts as fuller by the headroom, so
/// that it is sent less and gives away what is not urgent.
/// \complexity route O(instances), moves O(instances log instances).
/// \source Sun et al., "Llumnix", OSDI '24, sections 4.3 and 4.4. Deviation: the headroom is a number of
/// blocks for an instance, the paper's is divided among its urgent requests, which comes to the same sum;
/// no starting and stopping of instances.
class Llumnix {
 public:
  static constexpr std::string_view name = "llumnix";
  explicit Llumnix(const RouterOptions& options)
      : block_tokens_(options.block_tokens),
        headroom_(options.headroom),
        give_below_(options.give_below),
        take_above_(options.take_above) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&](std::size_t i) {
      const InstanceView& instance = view.instances[i];
      return -freeness(instance, instance.demand, block_tokens_, headroom(instance.urgent > 0));
    });
  }

  [[nodiscard]] std::vector<Move> moves(const ClusterView& view) const {
    std::vector<std::pair<double, std::size_t>> givers, takers;
    for (std::size_t i = 0; i < view.instances.size(); ++i) {
      const InstanceView& instance = view.instances[i];
      if (!instance.generates()) continue;
      // of the queue only its first counts: it is the one that cannot be helped otherwise
      // with nothing but urgent ones to give, it gives when its memory itself runs short
      const bool keeps = instance.urgent > 0 && (instance.urgent_running == 0 ||
                                                 instance.urgent_running < instance.running);
      const double f = freeness(instance, instance.head_demand, block_tokens_, headroom(keeps));
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
  [[nodiscard]] BlockCount headroom(bool kept) const { return kept ? headroom_ : BlockCount{0}; }

  Tokens block_tokens_;
  BlockCount headroom_;
  double give_below_, take_above_;
};
static_assert(MigratingRouter<Llumnix>);

}  // namespace quire::router
