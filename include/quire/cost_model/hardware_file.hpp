#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/cost_model/affine_coefficients.hpp>
#include <quire/cost_model/hardware.hpp>

namespace quire {

/// A device as a file describes it, with what a calibration found. The name lives as long as this.
struct HardwareFile {
  std::shared_ptr<const std::string> name;
  Hardware hardware;
  std::optional<AffineCoefficients> affine;
};

namespace detail {

/// Calls member(name, reference to a double) for each number of a device.
template <class AnyHardware, class Member>
void each_number(AnyHardware& h, Member&& member) {
  member("memory_bytes", h.memory_bytes);
  member("bandwidth", h.bandwidth);
  member("peak_flops", h.peak_flops);
  member("bandwidth_share", h.bandwidth_share);
  member("flops_share", h.flops_share);
  member("exponent", h.exponent);
  member("launch", h.launch);
  member("wave_share", h.wave_share);
  member("tile_intensity", h.tile_intensity);
  member("attention_bandwidth_share", h.attention_bandwidth_share);
  member("link_bandwidth", h.link_bandwidth);
  member("copy_latency", h.copy_latency);
  member("disk_bandwidth", h.disk_bandwidth);
  member("disk_latency", h.disk_latency);
  member("reduce_bandwidth", h.reduce_bandwidth);
  member("reduce_latency", h.reduce_latency);
  member("idle_watts", h.idle_watts);
  member("joules_per_byte", h.joules_per_byte);
  member("joules_per_flop", h.joules_per_flop);
}

}  // namespace detail

/// Reads what write_hardware() wrote; numbers that are missing keep their defaults.
/// \errors data error naming the file and the member.
[[nodiscard]] inline HardwareFile read_hardware(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw data_error(path.string(), "cannot be read", "a file of `quire calibrate`");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const json::Value value = json::parse(text, path.string());
  const json::Field root(value, path.string());
  if (root.at("schema").string() != "quire.hardware/1") {
    throw root.at("schema").error("another schema", "quire.hardware/1");
  }
  HardwareFile file;
  file.name = std::make_shared<const std::string>(root.at("name").string());
  file.hardware.name = *file.name;
  detail::each_number(file.hardware, [&root](const char* name, double& number) {
    if (const auto f = root.find_set(name)) number = f->number(0, 1e18);
  });
  if (file.hardware.knows_energy()) {
    const auto from = root.find_set("energy_from");
    file.hardware.energy_from =
        from && from->string() == hardware::power_table        ? hardware::power_table
        : from && from->string() == hardware::stated_constants ? hardware::stated_constants
                                                               : "hardware file";
  }
  if (const auto f = root.find_set("tile")) file.hardware.tile = f->integer(1, 1 << 20);
  if (const auto f = root.find_set("multiprocessors")) {
    file.hardware.multiprocessors = f->integer(0, 1 << 20);
  }
  if (const auto f = root.find_set("affine")) {
    const auto terms = [&f](const char* name) {
      const json::Field list = f->at(name);
      if (list.array().size() != 3) throw list.error("not three numbers", "three numbers, seconds");
      const auto number = [&list](std::size_t i) { return list.at(i).number(-1e6, 1e6); };
      return AffineTerms{number(0), number(1), number(2)};
    };
    file.affine = AffineCoefficients{terms("prefill"), terms("decode_small"), terms("decode_large"),
                                     f->at("large_batch").integer(1)};
  }
  return file;
}

/// The text of a hardware file. \unit as in Hardware; coefficients in seconds.
[[nodiscard]] inline std::string hardware_text(const HardwareFile& file) {
  std::string out = "{\"schema\": \"quire.hardware/1\", \"name\": \"" + *file.name + "\"";
  const auto plain = [](double number) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.10g", number);
    return std::string(digits);
  };
  detail::each_number(file.hardware, [&](const char* name, const double& number) {
    out += ",\n \"" + std::string(name) + "\": " + plain(number);
  });
  if (!file.hardware.energy_from.empty()) {
    out += ",\n \"energy_from\": \"" + std::string(file.hardware.energy_from) + "\"";
  }
  out += ",\n \"tile\": " + std::to_string(file.hardware.tile);
  out += ",\n \"multiprocessors\": " + std::to_string(file.hardware.multiprocessors);
  if (file.affine) {
    const auto terms = [&](const char* name, const AffineTerms& t) {
      return "\"" + std::string(name) + "\": [" + plain(t.constant) + ", " + plain(t.first) + ", " +
             plain(t.second) + "]";
    };
    out += ",\n \"affine\": {" + terms("prefill", file.affine->prefill) + ", " +
           terms("decode_small", file.affine->decode_small) + ", " +
           terms("decode_large", file.affine->decode_large) +
           ", \"large_batch\": " + std::to_string(file.affine->large_batch) + "}";
  }
  return out + "}\n";
}

/// \errors state error: the file cannot be written.
inline void write_hardware(const std::filesystem::path& path, const HardwareFile& file) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << hardware_text(file);
  out.close();
  if (!out) throw state_error(path.string(), "could not be written", "a writable place");
}

}  // namespace quire
