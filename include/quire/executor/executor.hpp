#pragma once

#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
