// What nearly every misuse includes, parsed once.
#include <quire/engine/engine.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>
