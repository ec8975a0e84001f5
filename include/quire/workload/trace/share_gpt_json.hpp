#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include <quire/core/json_cursor.hpp>
#include <quire/workload/trace/field.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

struct ShareGptJsonOptions {
  std::size_t limit = 0;      // requests kept, from the start of the file; 0: all
  Tokens total_limit = 2048;  // input + output must be smaller, as in the artifact of the paper
  Tokens shortest = 1;        // input and output must have at least as many
};

/// Lengths of a ShareGPT conversation file, the array of {"conversations": [{"from", "value"},
/// ...]} that the paper and vLLM's benchmark use: the first human turn is the prompt, the first
/// reply after it the output. count_tokens(text) gives a text's length in tokens. The result has no
/// arrivals. \complexity the file is held in memory. \errors data error naming file, byte and
/// member; no conversation within the limits. \source Kwon et al., SOSP '23, section 6.1 and its
/// artifact.
template <class CountTokens>
[[nodiscard]] Workload read_share_gpt_json(const std::filesystem::path& path,
                                           CountTokens&& count_tokens,
                                           const ShareGptJsonOptions& options = {}) {
  std::string text;
  Workload out;
  {
    LineReader lines(path);  // its refusals (directory, gzip, Git LFS) hold for this file too
    std::ifstream file(path, std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto size = file.tellg();
    if (!file || size < 0) throw data_error(path.string(), "cannot be read", "a regular file");
    text.resize(static_cast<std::size_t>(size));
    file.seekg(0);
    file.read(text.data(), size);
    if (!file) throw data_error(path.string(), "cannot be read to its end", "a readable file");
  }
  out.name = path.stem().string();
  out.provenance.schema = "share_gpt_json";
  out.provenance.path = path.string();
  out.provenance.parameters =
      "input + output < " + std::to_string(options.total_limit.value) + " tokens";
  out.timed = false;
  Sha256 digest;
  digest.update(text);
  out.provenance.sha256 = digest.hex();

  std::string_view body = text;
  if (body.starts_with("\xef\xbb\xbf")) body.remove_prefix(3);
  JsonCursor cursor(body, path.string());
  cursor.array([&] {
    ++out.provenance.rows;
    std::string human;
    std::string reply;
    int found = 0;  // 1: the human turn, 2: and the reply
    cursor.object([&](std::string_view member) {
      if (member != "conversations") return cursor.skip();
      cursor.array([&] {
        std::string from;
        std::string value;
        cursor.object([&](std::string_view key) {
          if (found < 2 && (key == "from" || key == "value")) {
            (key == "from" ? from : value) = cursor.string();
          } else {
            cursor.skip();
          }
        });
        const bool person = from == "human" || from == "user";
        if (found == 0 && person) {
          human = std::move(value);
          found = 1;
        } else if (found == 1 && !person && from != "system") {
          reply = std::move(value);
          found = 2;
        }
      });
    });
    Request request;
    if (found == 2 && (options.limit == 0 || out.requests.size() < options.limit)) {
      request.prompt_length = count_tokens(std::string_view(human));
      request.output_length = count_tokens(std::string_view(reply));
    }
    const Tokens output = request.output_length.value_or(0);
    if (request.prompt_length >= options.shortest && output >= options.shortest &&
        request.prompt_length > Tokens(0) && output > Tokens(0) &&
        request.prompt_length + output < options.total_limit) {
      out.requests.push_back(std::move(request));
    } else {
      ++out.provenance.dropped;
    }
  });
  cursor.end();
  if (out.requests.empty()) {
    throw data_error(path.string(), "has no conversation within the limits",
                     "at least one with a human turn and a reply");
  }
  number_requests(out.requests);
  return out;
}

}  // namespace quire::workload::trace
