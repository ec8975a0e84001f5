#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace quire {

/// What went wrong, as far as the caller's next move depends on it.
enum class ErrorKind {
  usage,  // a flag, option or argument: exit code 2
  data,   // a file or other outside input: exit code 1
  state,  // the program or the machine cannot do it now (memory, disk): exit code 1
};

/// One error that says where, what, and what was expected, on one line.
/// `where` names the file and the place in it (`model.safetensors: byte 8`), or the option.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view where, std::string_view what,
        std::string_view expected = {})
      : std::runtime_error(compose(where, what, expected)), kind_(kind) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] int exit_code() const noexcept { return kind_ == ErrorKind::usage ? 2 : 1; }

 private:
  static std::string compose(std::string_view where, std::string_view what,
                             std::string_view expected) {
    std::string line;
    line.reserve(where.size() + what.size() + expected.size() + 16);
    if (!where.empty()) line.append(where).append(": ");
    line.append(what);
    if (!expected.empty()) line.append("; expected ").append(expected);
    for (char& c : line) {  // outside text must not break the one-line promise
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return line;
  }
  ErrorKind kind_;
};

[[nodiscard]] inline Error usage_error(std::string_view where, std::string_view what,
                                       std::string_view expected = {}) {
  return {ErrorKind::usage, where, what, expected};
}
[[nodiscard]] inline Error data_error(std::string_view where, std::string_view what,
                                      std::string_view expected = {}) {
  return {ErrorKind::data, where, what, expected};
}
[[nodiscard]] inline Error state_error(std::string_view where, std::string_view what,
                                       std::string_view expected = {}) {
  return {ErrorKind::state, where, what, expected};
}

}  // namespace quire
