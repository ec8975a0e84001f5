#pragma once

#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/fp16.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/plain.hpp>
