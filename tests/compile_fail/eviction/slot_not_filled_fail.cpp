// expect: quire: eviction: the configuration has no `using Eviction = ...`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// A configuration from nothing must fill every slot; one was forgotten.
using From = quire::presets::Vllm;
struct Variant {
  static constexpr std::string_view name = "mine";
  using BlockSize = From::BlockSize;
  using Reservation = From::Reservation;
  using PrefixIndex = From::PrefixIndex;
#ifdef QUIRE_FIXED
  using Eviction = From::Eviction;
#endif
  using Admission = From::Admission;
  using Offload = From::Offload;
  using KvFormat = From::KvFormat;
  using WeightFormat = From::WeightFormat;
  using Retention = From::Retention;
  using Scheduler = From::Scheduler;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
