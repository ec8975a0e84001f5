#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <quire/engine/step_stats.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// An engine whose configuration was chosen at run time: one virtual call a step, everything below
/// it compiled for its configuration. Members as in Engine.
class AnyEngine {
 public:
  virtual ~AnyEngine() = default;
  virtual RequestId submit(Request request) = 0;
  virtual void keep(TokenRecords what) = 0;
  virtual bool cancel(RequestId id) = 0;
  virtual bool finish_sequence(RequestId id, std::int32_t sample_index, FinishReason reason) = 0;
  virtual const StepStats& step() = 0;
  [[nodiscard]] virtual bool has_work() const = 0;
  [[nodiscard]] virtual Seconds now() const = 0;
  virtual void advance_to(Seconds time) = 0;
  virtual void persist() = 0;
  [[nodiscard]] virtual std::uint64_t decision_hash() const = 0;
  [[nodiscard]] virtual std::span<const TokenEvent> events() const = 0;
  [[nodiscard]] virtual std::vector<std::unique_ptr<SequenceGroup>> take_finished() = 0;
  [[nodiscard]] virtual std::span<const std::unique_ptr<SequenceGroup>> requests() const = 0;
  [[nodiscard]] virtual MemoryUsage usage() const = 0;
  [[nodiscard]] virtual const EngineCounters& counters() const = 0;
  [[nodiscard]] virtual const KvGeometry& geometry() const = 0;
  [[nodiscard]] virtual const StepPlan& last_plan() const = 0;
};

/// Puts one configured engine behind AnyEngine. \pre E is an Engine<Config, Executor>.
template <class E>
class ErasedEngine final : public AnyEngine {
 public:
  template <class Options>
  explicit ErasedEngine(Options options) : engine_(std::move(options)) {}
  RequestId submit(Request request) override { return engine_.submit(std::move(request)); }
  void keep(TokenRecords what) override { engine_.keep(what); }
  bool cancel(RequestId id) override { return engine_.cancel(id); }
  bool finish_sequence(RequestId id, std::int32_t sample_index, FinishReason reason) override {
    return engine_.finish_sequence(id, sample_index, reason);
  }
  const StepStats& step() override { return engine_.step(); }
  [[nodiscard]] bool has_work() const override { return engine_.has_work(); }
  [[nodiscard]] Seconds now() const override { return engine_.now(); }
  void advance_to(Seconds time) override { engine_.advance_to(time); }
  void persist() override { engine_.persist(); }
  [[nodiscard]] std::uint64_t decision_hash() const override { return engine_.decision_hash(); }
  [[nodiscard]] std::span<const TokenEvent> events() const override { return engine_.events(); }
  [[nodiscard]] std::vector<std::unique_ptr<SequenceGroup>> take_finished() override {
    return engine_.take_finished();
  }
  [[nodiscard]] std::span<const std::unique_ptr<SequenceGroup>> requests() const override {
    return engine_.requests();
  }
  [[nodiscard]] MemoryUsage usage() const override { return engine_.usage(); }
  [[nodiscard]] const EngineCounters& counters() const override { return engine_.counters(); }
  [[nodiscard]] const KvGeometry& geometry() const override { return engine_.geometry(); }
  [[nodiscard]] const StepPlan& last_plan() const override { return engine_.last_plan(); }

  [[nodiscard]] E& engine() { return engine_; }

 private:
  E engine_;
};

}  // namespace quire
