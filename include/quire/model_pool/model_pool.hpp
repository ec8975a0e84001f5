#pragma once

#include <quire/model_pool/concepts.hpp>
#include <quire/model_pool/images.hpp>
#include <quire/model_pool/pool.hpp>
#include <quire/model_pool/simulated.hpp>
