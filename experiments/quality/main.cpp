// What a KV format does to a model, to memory and to speed. README.md says what is run and why.
#include <vector>

#include <experiments/quality/axes.hpp>
#include <experiments/quality/format.hpp>

int main(int argc, char** argv) {
  std::vector<quire::quality::Format> formats;
  quire::for_each_type(quire::quality::KvFormats{},
                       [&]<class F>() { formats.push_back(quire::quality::format<F>()); });
  return quire::quality::run(argc, argv, formats, /*whole=*/false);
}
