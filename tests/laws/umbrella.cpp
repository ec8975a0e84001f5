// The unit that clang-tidy reads: all of include/, and nothing else.
#include <quire/quire.hpp>
