#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/row_file.hpp>

namespace quire::experiment {

/// What to do with rows that are there already.
enum class Existing { refuse, append, resume, force };

/// Where rows go, and which are there.
struct Output {
  std::optional<metrics::RowFile> file{};
  std::set<std::string> finished{};  // run ids that this very program has written: resume only
};

/// A member of a JSON object as text; null when the value is no object or has no such text.
[[nodiscard]] inline const std::string* text_member(const json::Value* value,
                                                    std::string_view name) {
  if (value == nullptr || value->object() == nullptr) return nullptr;
  const json::Value* member = value->object()->find(name);
  return member == nullptr ? nullptr : member->string();
}

/// Hash of the running program: equal programs make equal rows, and a changed one must not take
/// rows of another for its own. Empty where /proc cannot tell.
[[nodiscard]] inline std::string program_hash() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.empty()) return "";
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(hash_span(std::span<const char>(bytes))));
  return text;
}

/// Opens a file for rows.
/// \errors usage error: rows are there and nobody said what to do with them; data error: a line of
/// the file is no row; state error: it cannot be written.
/// instead: the flags that say what to do with rows that are there.
[[nodiscard]] inline Output open_output(
    const std::filesystem::path& path, Existing existing, std::string_view program,
    std::string_view instead =
        "--append, --resume (leaves out what is done) or --force (starts "
        "anew)") {
  Output out;
  if (path == "-") {
    throw usage_error("--out -", "is no file", "a file; rows on stdout are --format jsonl");
  }
  if (path.empty()) {
    if (existing != Existing::refuse) {
      throw usage_error("--out", "is missing", "the file that --append, --resume or --force means");
    }
    return out;
  }
  std::error_code none;
  const auto size = std::filesystem::file_size(path, none);
  if (!none && size > 0) {
    if (existing == Existing::refuse) {
      throw usage_error("--out " + path.string(), "has rows already", instead);
    }
    if (existing == Existing::append) {
      std::ifstream file(path);
      if (file.get() != '{') {
        throw data_error(path.string(), "holds something else than rows",
                         "a file of result rows, or one that is not there");
      }
    }
    if (existing == Existing::force) std::filesystem::resize_file(path, 0);
    if (existing == Existing::resume) {
      std::size_t number = 0;
      for (const std::string& line : metrics::read_rows(path)) {
        const std::string where = path.string() + ": row " + std::to_string(++number);
        const json::Value row = json::parse(line, where);
        const std::string* id = text_member(&row, "run_id");
        if (id == nullptr) throw data_error(where, "is no result row", "a member 'run_id'");
        const json::Value* provenance = row.object()->find("provenance");
        const std::string* by = text_member(provenance, "program");
        if (by != nullptr && *by == program) out.finished.insert(*id);
      }
    }
  }
  out.file.emplace(path);
  return out;
}

}  // namespace quire::experiment
