// expect: quire: weight_format: A8 rounds activations once; give it the format itself
#include <quire/weight_format/a8.hpp>

using namespace quire::weight_format;

// Activations cannot be rounded to 8 bits twice.
#ifdef QUIRE_FIXED
using Mine = A8<Q40>;
#else
using Mine = A8<A8<Q40> >;
#endif

int main() { return static_cast<int>(Mine::row_bytes(256)); }
