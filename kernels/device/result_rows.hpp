#pragma once

#include <cstdio>
#include <string>
#include <utility>

#include <quire/core/error.hpp>

namespace quire::device {

/// Writes rows as JSON lines; `common` is what every row carries (device, driver, clocks, flags).
class Rows {
 public:
  Rows(const char* path, std::string common)
      : file_(std::fopen(path, "a")), common_(std::move(common)) {
    if (file_ == nullptr)
      throw usage_error(path, "cannot be written", "a path in a folder that is");
  }
  ~Rows() { std::fclose(file_); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// A row whose result was not checked: it says nothing of that. \unit value and ceiling: what is counted, a second
  void add(const std::string& kernel, const std::string& what, double seconds, double value,
           const std::string& ceiling_name, double ceiling) {
    write(kernel, what, seconds, value, ceiling_name, ceiling, "", "");
  }
  /// \unit as above
  void add(const std::string& kernel, const std::string& what, double seconds, double value,
           const std::string& ceiling_name, double ceiling, bool correct, double error) {
    char found[64];
    std::snprintf(found, sizeof found, "\"correct\":%s,\"worst_error\":%.3g,",
                  correct ? "true" : "false", error);
    write(kernel, what, seconds, value, ceiling_name, ceiling, found, correct ? "" : "  WRONG");
    wrong_ += correct ? 0 : 1;
  }
  [[nodiscard]] int wrong() const { return wrong_; }

 private:
  void write(const std::string& kernel, const std::string& what, double seconds, double value,
             const std::string& ceiling_name, double ceiling, const char* found, const char* said) {
    const double ratio = ceiling > 0 ? value / ceiling : 1.0;
    std::fprintf(file_,
                 "{\"schema\":\"quire.result/1\",\"mode\":\"measured\",\"kernel\":\"%s\","
                 "\"case\":\"%s\",\"seconds\":%.9g,\"value\":%.6g,\"ceiling\":\"%s\","
                 "\"ceiling_value\":%.6g,\"ratio\":%.4f,%s%s}\n",
                 kernel.c_str(), what.c_str(), seconds, value, ceiling_name.c_str(), ceiling, ratio,
                 found, common_.c_str());
    std::fflush(file_);
    std::printf("%-22s %-52s %9.2f us  %8.3g/s  %5.3f of %s%s\n", kernel.c_str(), what.c_str(),
                seconds * 1e6, value, ratio, ceiling_name.c_str(), said);
  }

  std::FILE* file_;
  std::string common_;
  int wrong_ = 0;
};

}  // namespace quire::device
