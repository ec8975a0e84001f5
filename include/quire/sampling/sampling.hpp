#pragma once

#include <quire/sampling/logprobs.hpp>
#include <quire/sampling/params.hpp>
#include <quire/sampling/penalties.hpp>
#include <quire/sampling/sampler.hpp>
#include <quire/sampling/truncation.hpp>
