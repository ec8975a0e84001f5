#pragma once

#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/checkpoint/tensor_view.hpp>
#include <quire/checkpoint/tokenizer.hpp>
