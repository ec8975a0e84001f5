// quire info: what this program is, and what it runs on.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include <experiments/common/build_info.hpp>
#include <experiments/common/output.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/core/error.hpp>
#include <quire/core/simd.hpp>

namespace quire::experiment {

void add_info(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("info", "Prints version, commit, compiler, processor and variants.");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "one JSON object");
  command->callback([json, &exit_code] {
    const char* self[] = {"quire"};
    metrics::RunProvenance p = metrics::provenance_now(build_info(), 1, self);
    p.program = program_hash();
    const std::size_t variants = variants_of("simulated").size();
    std::string cuda;
    try {
      const DeviceSaid device = cuda_device();
      p.gpu = device.name, p.driver = device.driver, p.cuda = device.cuda;
      cuda = device.name;
      if (!device.cuda.empty()) {
        char memory[32];
        std::snprintf(memory, sizeof memory, ", %.0f GiB",
                      static_cast<double>(device.memory) / (1 << 30));
        cuda += memory + (", driver for CUDA " + device.driver) + ", compiled with " + device.cuda;
      }
    } catch (const Error& why) {  // which is what it says
      cuda = std::string("none: ") + why.what();
    }
    if (*json) {
      metrics::JsonObject out = p.json(false);
      out.add("variants", variants).add("simd", hwy::TargetName(HWY_TARGET));
      std::cout << out.text() << '\n';
    } else {
      std::cout << "quire " << p.build.version << " (" << p.build.git_sha
                << (p.build.git_dirty ? ", changed" : "") << ")\n"
                << "compiler    " << p.compiler << ' ' << p.compiler_version << ", "
                << p.build.build_type << ' ' << p.build.cxx_flags << '\n'
                << "processor   " << p.cpu_model << ", " << p.num_cpus << " threads, SIMD "
                << hwy::TargetName(HWY_TARGET) << '\n'
                << "CUDA        " << cuda << '\n'
                << "variants    " << variants << '\n';
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
