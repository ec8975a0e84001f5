// The registry of the CPU executor's variants, and what it needs of the settings. Few, since each
// brings kernels; formats that none of them has are chosen when an engine is made.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/make_run.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quality/kv_formats.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <experiments/quire/erased.hpp>
#include <quire/engine/registry.hpp>
#include <quire/executor/any_cpu.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/weight_format/codec.hpp>

/// Generated from the program's CPU_LIST (quire_add_variants).
std::vector<quire::Variant<quire::executor::AnyCpu>> cpu_variants();

namespace quire::experiment {
namespace {

/// What the CPU executor is told: --model is the folder of a checkpoint.
executor::AnyCpu::Options cpu_options(const Settings& s, bool) {
  executor::AnyCpu::Options options;
  options.model = checkpoint::open_checkpoint(s.model);
  take_settings(s, options);
  options.threads = threads_of(s);
  options.pin_threads = s.thread_places == "pinned";
  if (s.kv_memory_gib > 0) options.kv_memory = gib(s.kv_memory_gib);
  return options;
}

constexpr std::string_view kv_mark = "+kv_format=", weight_mark = "+weight_format=";

/// What a variant's name, `base+kv_format=NAME+weight_format=NAME`, asks for beside a compiled one.
struct Asked {
  std::string_view base, kv_format, weight_format;
};
Asked parts_of(std::string_view name) {
  Asked asked{.base = name, .kv_format = {}, .weight_format = {}};
  const auto cut = [&asked](std::string_view mark) {
    const std::size_t at = asked.base.rfind(mark);
    if (at == std::string_view::npos) return std::string_view();
    const std::string_view value = asked.base.substr(at + mark.size());
    if (value.find('+') != std::string_view::npos) return std::string_view();
    asked.base = asked.base.substr(0, at);
    return value;
  };
  asked.weight_format = cut(weight_mark);
  asked.kv_format = cut(kv_mark);
  return asked;
}

/// The codecs that can be chosen for a slot, by name.
std::vector<const kv_format::KvCodec*> kv_codecs() {
  std::vector<const kv_format::KvCodec*> codecs;
  for (const quality::Format& f : quality::kv_formats()) codecs.push_back(f.codec);
  return codecs;
}
std::vector<const weight_format::WeightCodec*> weight_codecs() {
  return {weight_formats().begin(), weight_formats().end()};
}

/// Formats of one slot that a selection names; null: the variant's own. \errors usage error: nothing has it
template <class Codec>
std::vector<const Codec*> named_formats(std::string_view slot_name,
                                        const std::vector<const Codec*>& codecs,
                                        const std::vector<RunVariant>& all,
                                        const Selection& selection) {
  const std::size_t slot = detail::slot_index(slot_name);
  std::vector<const Codec*> wanted{nullptr};
  const auto want = [&](std::string_view name, const std::string& where) {
    const auto found = std::find_if(codecs.begin(), codecs.end(),
                                    [name](const Codec* c) { return c->name == name; });
    if (found != codecs.end()) {
      if (std::find(wanted.begin(), wanted.end(), *found) == wanted.end()) wanted.push_back(*found);
      return;
    }
    std::vector<std::string> known = policies_of_slot(all, slot);
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    for (const Codec* c : codecs) {
      if (std::find(known.begin(), known.end(), c->name) == known.end()) {
        known.emplace_back(c->name);
      }
    }
    throw unknown_name(where, slot_name, name, known);
  };
  for (const Axis& axis : selection.axes) {
    if (axis.name != slot_name) continue;
    for (const std::string& value : axis.values) want(value, "--axis " + axis.name);
  }
  for (const std::string& name : selection.variants) {
    const Asked asked = parts_of(name);
    const auto is = [&all](std::string_view n) {
      return std::any_of(all.begin(), all.end(), [n](const auto& v) { return v.name == n; });
    };
    const std::string_view value = slot_name == "kv_format" ? asked.kv_format : asked.weight_format;
    if (!value.empty() && !is(name) && is(asked.base)) want(value, "--variant " + name);
  }
  return wanted;
}

}  // namespace

std::vector<RunVariant> variants_on_cpu() {
  return erased(cpu_variants(), metrics::Mode::measured, cpu_options);
}

std::vector<std::string> chosen_names_on_cpu(std::string_view slot) {
  std::vector<std::string> names;
  if (slot == "kv_format") {
    for (const auto* codec : kv_codecs()) names.emplace_back(codec->name);
  } else if (slot == "weight_format") {
    for (const auto* codec : weight_codecs()) names.emplace_back(codec->name);
  }
  return names;
}

void add_chosen_on_cpu(std::vector<RunVariant>& all, const Selection& selection) {
  const auto kvs = named_formats("kv_format", kv_codecs(), all, selection);
  const auto weights = named_formats("weight_format", weight_codecs(), all, selection);
  for (const Variant<executor::AnyCpu>& v : cpu_variants()) {
    if (v.with_kv_format == nullptr) continue;
    for (const kv_format::KvCodec* kv : kvs) {
      for (const weight_format::WeightCodec* weight : weights) {
        RunVariant r{.name = std::string(v.name), .slots = v.slots};
        if (kv != nullptr) {
          r.name = parts_of(v.name).base;
          r.name.append(kv_mark).append(kv->name);
          r.slots[detail::slot_index("kv_format")] = kv->name;
        }
        if (weight != nullptr) {
          r.name.append(weight_mark).append(weight->name);
          r.slots[detail::slot_index("weight_format")] = weight->name;
        }
        const auto same = [&r](const RunVariant& other) {
          return other.slots == r.slots || other.name == r.name;
        };
        if (std::any_of(all.begin(), all.end(), same)) continue;
        r.scheduler_reads = v.scheduler_reads;
        r.mode = metrics::Mode::measured;
        r.incompatible =
            v.with_kv_format(kv != nullptr ? *kv : kv_format::codec_of<kv_format::Fp32>());
        if (r.incompatible.empty() && kv != nullptr && kv_format::needs_calibration(*kv)) {
          r.incompatible =
              "kv_format: it is fitted to a model beforehand, on a text; `quire generate "
              "--kv-calibration-text` and experiments/quality do that";
        }
        if (r.incompatible.empty()) {
          r.make = [make = v.make, kv, weight](const Settings& s) {
            executor::AnyCpu::Options options = cpu_options(s, false);
            options.kv_format = kv;
            options.weight_format = weight;
            return make(options);
          };
        }
        all.push_back(std::move(r));
      }
    }
  }
}

}  // namespace quire::experiment
