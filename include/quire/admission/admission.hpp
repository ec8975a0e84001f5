#pragma once

#include <quire/admission/always.hpp>
#include <quire/admission/concepts.hpp>
#include <quire/admission/reuse_threshold.hpp>
#include <quire/admission/tiny_lfu.hpp>
