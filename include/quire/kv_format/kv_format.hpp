#pragma once

#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/plain.hpp>
