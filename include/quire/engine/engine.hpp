#pragma once

#include <quire/engine/any_engine.hpp>
#include <quire/engine/axes.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/checks.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/config.hpp>
#include <quire/engine/control_plane.hpp>
#include <quire/engine/describe.hpp>
#include <quire/engine/explain.hpp>
#include <quire/engine/group_progress.hpp>
#include <quire/engine/override.hpp>
#include <quire/engine/registry.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/engine/step_stats.hpp>
