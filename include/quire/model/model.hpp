#pragma once

#include <quire/model/shape.hpp>
