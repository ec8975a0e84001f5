#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/cells.hpp>
#include <experiments/common/run_variant.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/weight_format/codec.hpp>

namespace CLI {
class App;
}

namespace quire::experiment {

/// One command of the program: adds itself to the parser, and returns what runs it when it was
/// chosen. argc and argv go into the provenance of rows.
struct Invocation {
  int argc = 0;
  char** argv = nullptr;
};

/// The variants that an executor was compiled for, with what the executor needs of the settings.
/// \errors usage error: an unknown executor.
[[nodiscard]] std::vector<RunVariant> variants_of(const std::string& executor);
/// Those of the CPU executor. \errors usage error in a program that was compiled without any.
[[nodiscard]] std::vector<RunVariant> variants_on_cpu();
/// Those of the CUDA executor. \errors likewise
[[nodiscard]] std::vector<RunVariant> variants_on_cuda();

/// A device as rows and `quire info` name it.
struct DeviceSaid {
  std::string name{}, driver{}, cuda{};  // versions, as 13.0
  std::int64_t memory = 0;               // bytes

  [[nodiscard]] std::string said() const {
    return cuda.empty() ? "the emulator of a device, whose seconds say nothing of one" : name;
  }
};
/// The device of the CUDA executor; "emulator" where the program was compiled for that.
/// \errors state: there is none, or the program has no such executor
[[nodiscard]] DeviceSaid cuda_device();

/// What a slot may hold beside the policies that were compiled: formats of the CPU executor that are chosen
/// when an engine is made. Empty for other slots and executors.
[[nodiscard]] std::vector<std::string> chosen_names(const std::string& executor,
                                                    std::string_view slot);
/// Adds the variants in such formats that a selection names: by an axis, or as VARIANT+kv_format=NAME,
/// VARIANT+weight_format=NAME, or with both in this order.
/// \errors usage error: a format that nothing has, with the nearest name.
void add_chosen(std::vector<RunVariant>& all, const Selection& selection);
/// Weight formats that can be chosen, which are those that images are written in.
[[nodiscard]] std::span<const weight_format::WeightCodec* const> weight_formats();
/// The same of the CPU executor.
[[nodiscard]] std::vector<std::string> chosen_names_on_cpu(std::string_view slot);
void add_chosen_on_cpu(std::vector<RunVariant>& all, const Selection& selection);

/// The cost model that settings ask for; empty for the roofline, which engines have anyway.
/// \errors usage error: nothing to make it from; data error: a damaged file, or one that lacks what a step
/// needs.
[[nodiscard]] CostMaker cost_choice(const Settings& settings);

/// Folder of the running program, which experiments are built beside; empty where /proc is not
/// there.
[[nodiscard]] std::string program_folder();
/// Names of the experiments in the sources, and whether each has been built.
[[nodiscard]] std::vector<std::string> experiment_names();
/// The program of an experiment; empty when it has not been built.
[[nodiscard]] std::string experiment_program(const std::string& name);
/// Replaces this process by another program. \errors state error when it cannot be started.
[[noreturn]] void become(const std::string& program, const std::vector<std::string>& words);

void add_list(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code, const Invocation& invocation);
void add_sweep(CLI::App& app, int& exit_code, const Invocation& invocation);
void add_compare(CLI::App& app, int& exit_code);
void add_generate(CLI::App& app, int& exit_code);
void add_bench_limits(CLI::App& app, int& exit_code);
void add_calibrate(CLI::App& app, int& exit_code);
void add_convert(CLI::App& app, int& exit_code);
void add_image(CLI::App& app, int& exit_code);
void add_random_model(CLI::App& app, int& exit_code);
void add_info(CLI::App& app, int& exit_code);

}  // namespace quire::experiment
