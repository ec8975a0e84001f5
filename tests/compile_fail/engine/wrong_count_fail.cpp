// expect: quire: COUNT differs from the list; write the first number of VariantCount<...>
#include <quire/engine/registry.hpp>
#include <quire/presets/vllm.hpp>

using Variants = quire::type_list<quire::presets::Vllm>;

// What the generated unit asks where CMake was given another number.
#ifdef QUIRE_FIXED
static_assert(quire::VariantCount<Variants::size, 1>::value);
#else
static_assert(quire::VariantCount<Variants::size, 2>::value);
#endif
