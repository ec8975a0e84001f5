#include <experiments/common/options.hpp>

#include <array>
#include <charconv>
#include <system_error>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::experiment {

Options parse_options(const std::vector<std::string>& arguments) {
  constexpr std::array<std::string_view, 12> flags{"--out",    "--scale", "--resume", "--traces",
                                                   "--filter", "--axis",  "--model",  "--jobs",
                                                   "--list",   "--help",  "-h",       "-l"};
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    const std::string flag = word.substr(0, equals);
    const auto value = [&]() -> std::string {
      if (equals != std::string::npos) return word.substr(equals + 1);
      if (i + 1 == arguments.size()) throw usage_error(flag, "a value is missing");
      return arguments[++i];
    };
    if (flag == "--out") {
      options.out = value();
    } else if (flag == "--scale") {
      constexpr std::array<std::string_view, 3> scales{"smoke", "default", "full"};
      const std::string text = value();
      std::size_t s = 0;
      while (s < scales.size() && scales[s] != text) ++s;
      if (s == scales.size()) {
        throw usage_error(flag, "unknown scale " + in_quotes(text),
                          "perhaps " + nearest_names(text, scales, 1)[0]);
      }
      options.scale = static_cast<Scale>(s);
    } else if (flag == "--traces") {
      options.traces = value();
      if (!std::filesystem::is_directory(options.traces)) {
        throw usage_error(flag, in_quotes(options.traces.string()) + " is not a folder");
      }
    } else if (flag == "--filter") {
      options.filter = value();
    } else if (flag == "--axis") {
      options.axes.push_back(parse_axis(value()));
    } else if (flag == "--model") {
      options.model = value();
      const bool gguf =
          options.model.extension() == ".gguf" && std::filesystem::is_regular_file(options.model);
      if (!gguf && !std::filesystem::is_directory(options.model)) {
        throw usage_error(flag, in_quotes(options.model.string()) + " is not a folder",
                          "a checkpoint in the Hugging Face layout, or a .gguf file");
      }
    } else if (flag == "--jobs") {
      const std::string text = value();
      const auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), options.jobs);
      if (error != std::errc{} || end != text.data() + text.size() || options.jobs < 1 ||
          options.jobs > 4096) {
        throw usage_error(flag, in_quotes(text) + " is not a number of threads", "1 to 4096");
      }
    } else if (flag == "--resume") {
      options.resume = true;
    } else if (flag == "--list" || flag == "-l") {
      options.list = true;
    } else if (flag == "--help" || flag == "-h") {
      options.help = true;
    } else {
      throw usage_error(in_quotes(word), "unknown argument",
                        "perhaps " + nearest_names(flag, flags, 1)[0]);
    }
  }
  if (!options.list && !options.help && options.out.empty()) {
    throw usage_error("--out", "is missing", "the file to which rows are appended");
  }
  return options;
}

}  // namespace quire::experiment
