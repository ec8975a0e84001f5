#pragma once

#include <quire/executor/any_cpu.hpp>
#include <quire/executor/arena_geometry.hpp>
#include <quire/executor/attending.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cpu_attention.hpp>
#include <quire/executor/cpu_tiers.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/executor/drafter.hpp>
#include <quire/executor/kv_fingerprint.hpp>
#include <quire/executor/layer_loader.hpp>
#include <quire/executor/lower_tiers.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/executor/step.hpp>
#include <quire/executor/timed.hpp>
