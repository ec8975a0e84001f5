#pragma once

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/hd.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_cursor.hpp>
#include <quire/core/json_field.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/simd.hpp>
#include <quire/core/text.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/type_list.hpp>
#include <quire/core/units.hpp>
#include <quire/core/utf8.hpp>
