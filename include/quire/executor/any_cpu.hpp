// mechanism: the CPU executor with formats that are chosen when it is made
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <quire/core/error.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/executor/attending.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/model/shape.hpp>
#include <quire/model/weight_load.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::executor {

/// Cpu with the KV format and the weight format as values, in place of those of the configuration: what
/// sizes the pools, what names a disk tier and what the steps read and write are then of the format that
/// was chosen. Without a choice it is Cpu. Behind it stands one class, so that configurations that differ
/// in formats alone share the control plane; a step is called through a pointer.
struct AnyCpu {
  struct Options : Cpu::Options {
    const kv_format::KvCodec* kv_format = nullptr;              // null: the configuration's
    const weight_format::WeightCodec* weight_format = nullptr;  // likewise
  };

  /// Whether formats other than a configuration's own can be chosen for it: under full attention and over
  /// weights in fp32, so that all choices together are two more instantiations of Cpu::Steps.
  template <class C>
  static constexpr bool chooses = std::is_same_v<AttendingFor<typename C::Retention>, AttendsAll>&&
      std::is_same_v<weight_format::storage_of<typename C::WeightFormat>, weight_format::Fp32>;

  /// Why configuration C does not go together with a KV format that is chosen; empty when it does.
  template <class C>
  [[nodiscard]] static std::string_view refusal(const kv_format::KvCodec& codec) {
    if (!chooses<C>) {
      return "formats other than its own are compiled for retention keep_all over weights in fp32 "
             "alone";
    }
    return incompatible_with<C>(codec.traits(static_cast<std::size_t>(C::BlockSize::tokens.value)));
  }

  [[nodiscard]] static model::Shape shape(const Options& options) { return Cpu::shape(options); }

  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return Cpu::geometry<C>(options, kv_format_of<C>(options));
  }

  /// Some Cpu::Steps.
  class Steps {
   public:
    static constexpr std::string_view name = "cpu";
    static constexpr bool needs_tokens = true;

    template <class S, class... Args>
    [[nodiscard]] static Steps of(Args&&... args) {
      return Steps(new S(std::forward<Args>(args)...), functions<S>);
    }

    void execute(const StepPlan& plan, StepResult& result) {
      does_->execute(steps_.get(), plan, result);
    }
    [[nodiscard]] std::span<const StoredBlock> stored() const {
      return does_->stored(steps_.get());
    }
    [[nodiscard]] double weight_seconds() const { return does_->weight_seconds(steps_.get()); }
    [[nodiscard]] model::WeightLoad& weight_load() { return does_->weight_load(steps_.get()); }
    [[nodiscard]] ThreadPool& threads() { return does_->threads(steps_.get()); }
    /// Bytes of the weights as they are kept, and of tokens beside the pool that are not packed yet: the
    /// most there were.
    [[nodiscard]] std::size_t weight_bytes() const { return does_->weight_bytes(steps_.get()); }
    [[nodiscard]] std::size_t open_bytes() const { return does_->open_bytes(steps_.get()); }

   private:
    struct Functions {
      void (*execute)(void*, const StepPlan&, StepResult&);
      std::span<const StoredBlock> (*stored)(const void*);
      double (*weight_seconds)(const void*);
      model::WeightLoad& (*weight_load)(void*);
      ThreadPool& (*threads)(void*);
      std::size_t (*weight_bytes)(const void*);
      std::size_t (*open_bytes)(const void*);
      void (*destroy)(void*);
    };
    template <class S>
    static constexpr Functions functions{
        [](void* s, const StepPlan& p, StepResult& r) { static_cast<S*>(s)->execute(p, r); },
        [](const void* s) { return static_cast<const S*>(s)->stored(); },
        [](const void* s) { return static_cast<const S*>(s)->weight_seconds(); },
        [](void* s) -> model::WeightLoad& { return static_cast<S*>(s)->weight_load(); },
        [](void* s) -> ThreadPool& { return static_cast<S*>(s)->threads(); },
        [](const void* s) { return static_cast<const S*>(s)->decoder().weights().bytes(); },
        [](const void* s) { return static_cast<const S*>(s)->arena().open_bytes(); },
        [](void* s) { delete static_cast<S*>(s); }};

    Steps(void* steps, const Functions& does) : does_(&does), steps_(steps, does.destroy) {}

    const Functions* does_;
    std::unique_ptr<void, void (*)(void*)> steps_;
  };

  template <class C>
  [[nodiscard]] static Steps bind(const Options& options, const KvGeometry& geometry) {
    using Attending = AttendingFor<typename C::Retention>;
    const kv_format::KvCodec& kv = kv_format_of<C>(options);
    const auto& own_weights = weight_format::codec_of<typename C::WeightFormat>();
    const bool own_kv = &kv == &kv_format::codec_of<typename C::KvFormat>();
    if (own_kv && (options.weight_format == nullptr || options.weight_format == &own_weights)) {
      return Steps::of<Cpu::Shared<C>>(options, geometry, kv, own_weights);
    }
    if constexpr (chooses<C>) {
      if (options.weight_format == nullptr || options.weight_format == &own_weights) {
        return Steps::of<Cpu::Steps<kv_format::Packed, weight_format::Fp32, Attending>>(
            options, geometry, kv, own_weights);
      }
      return Steps::of<Cpu::Steps<kv_format::Packed, weight_format::Packed, Attending>>(
          options, geometry, kv, *options.weight_format);
    } else {
      throw usage_error("weight_format " + std::string(options.weight_format->name),
                        std::string(C::name) + " is compiled for its own alone",
                        std::string(C::WeightFormat::name));
    }
  }

 private:
  /// \errors usage: a format that does not go together with the configuration
  template <class C>
  [[nodiscard]] static const kv_format::KvCodec& kv_format_of(const Options& options) {
    const kv_format::KvCodec& own = kv_format::codec_of<typename C::KvFormat>();
    if (options.kv_format == nullptr || options.kv_format == &own) return own;
    const std::string_view why = refusal<C>(*options.kv_format);
    if (why.empty()) return *options.kv_format;
    throw usage_error("kv_format " + std::string(options.kv_format->name),
                      "does not go together with " + std::string(C::name) + ": " + std::string(why),
                      "another format or configuration");
  }
};

}  // namespace quire::executor
