#include <experiments/quality/kv_formats.hpp>

#include <vector>

#include <experiments/quality/axes.hpp>

namespace quire::quality {

std::span<const Format> kv_formats() {
  static const std::vector<Format> all = [] {
    std::vector<Format> formats;
    for_each_type(KvFormats{}, [&]<class F>() { formats.push_back(format<F>()); });
    return formats;
  }();
  return all;
}

}  // namespace quire::quality
