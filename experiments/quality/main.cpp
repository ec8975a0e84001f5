// What a KV format does to a model, to memory and to speed. README.md says what is run and why.
#include <vector>

#include <experiments/quality/kv_formats.hpp>

int main(int argc, char** argv) {
  const auto formats = quire::quality::kv_formats();
  return quire::quality::run(argc, argv, {formats.begin(), formats.end()}, /*whole=*/false);
}
