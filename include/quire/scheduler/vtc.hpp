#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Virtual token counter: each client has a counter of the service it got, and the waiting request of
/// the client with the smallest counter is admitted first. A client that returns after a pause is
/// lifted to the smallest counter of the waiting ones, so that it cannot save up service.
/// Charges prompt_weight a prompt token at admission and output_weight an output token.
/// \complexity charge O(clients) on an arrival that finds its client without a queue, else O(1).
/// \errors none.
/// \source Sheng et al., "Fairness in Serving Large Language Models", OSDI '24, algorithm 2 (weights 1
/// and 2): two backlogged clients' service differs by at most 2 max(w_p L_input, w_q M).
/// Deviation: a group that waits for its recompute counts as its client's, but does not lift it, and
/// is not charged again for what it had been charged for.
class Vtc : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "vtc";
  static constexpr bool dynamic_rank = true;
  static constexpr double prompt_weight = 1;
  static constexpr double output_weight = 2;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    return client_rank(group);
  }
  [[nodiscard]] double client_rank(const SequenceGroup& group) const {
    return counter(group.request.tenant);
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    account(event, group, tokens, prompt_weight, output_weight);
  }
  /// Service a client has been charged for.
  [[nodiscard]] double counter(TenantId tenant) const {
    const auto client = clients_.find(tenant);
    return client == clients_.end() ? 0 : client->second.counter;
  }
  /// Requests of a client that wait.
  [[nodiscard]] std::int64_t queued(TenantId tenant) const {
    const auto client = clients_.find(tenant);
    return client == clients_.end() ? 0 : client->second.queued;
  }

 protected:
  /// Adds to a client's counter outside of what account() charges.
  void add(TenantId tenant, double service) { clients_[tenant].counter += service; }

  void account(SchedulerEvent event, const SequenceGroup& group, Tokens tokens, double prompt_price,
               double output_price) {
    Client& client = clients_[group.request.tenant];
    switch (event) {
      case SchedulerEvent::arrive:
        if (client.queued == 0) lift(client);
        ++client.queued;
        break;
      case SchedulerEvent::admit:
        leave(client, group.request.tenant);
        client.counter += prompt_price * static_cast<double>(tokens.value);
        break;
      case SchedulerEvent::output_tokens:
        client.counter += output_price * static_cast<double>(tokens.value);
        break;
      case SchedulerEvent::preempt:
        if (group.status == GroupStatus::waiting) ++client.queued;
        break;
      case SchedulerEvent::finish:
        if (group.status == GroupStatus::waiting) leave(client, group.request.tenant);
        break;
      case SchedulerEvent::resume:
      case SchedulerEvent::prompt_tokens:
        break;
    }
  }

 private:
  struct Client {
    double counter = 0;
    std::int64_t queued = 0;
  };

  void leave(Client& client, TenantId tenant) {
    if (--client.queued == 0) last_to_leave_ = tenant;
  }
  void lift(Client& client) {
    bool any = false;
    double smallest = 0;
    for (const auto& [tenant, other] : clients_) {
      if (other.queued == 0) continue;
      smallest = any ? std::min(smallest, other.counter) : other.counter;
      any = true;
    }
    if (!any) smallest = clients_[last_to_leave_].counter;
    client.counter = std::max(client.counter, smallest);
  }

  std::unordered_map<TenantId, Client> clients_;
  TenantId last_to_leave_;
};
static_assert(SchedulerPolicy<Vtc>);

}  // namespace quire::scheduler
