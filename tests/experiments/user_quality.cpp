// The laboratory over a user's own format.
#include <experiments/quality/format.hpp>
#include <tests/experiments/user_kv_format.hpp>

int main(int argc, char** argv) {
  return quire::quality::run(argc, argv, {quire::quality::format<lab::LogBytes>()});
}
