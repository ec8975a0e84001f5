#pragma once

#include <quire/presets/faster_transformer.hpp>
#include <quire/presets/hf_transformers.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/orca_oracle.hpp>
#include <quire/presets/orca_pow2.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/tgi.hpp>
#include <quire/presets/torchserve.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
