#pragma once

#include <quire/retention/concepts.hpp>
#include <quire/retention/keep_all.hpp>
