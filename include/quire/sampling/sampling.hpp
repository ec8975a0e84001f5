#pragma once

#include <quire/sampling/params.hpp>
