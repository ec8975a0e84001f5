#pragma once

#include <quire/model/known_shapes.hpp>
#include <quire/model/shape.hpp>
