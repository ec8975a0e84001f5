#pragma once

#include <quire/retention/compaction.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/retention/h2o.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/retention/lane.hpp>
#include <quire/retention/limits.hpp>
#include <quire/retention/lowest.hpp>
#include <quire/retention/pyramid_kv.hpp>
#include <quire/retention/quest.hpp>
#include <quire/retention/scissorhands.hpp>
#include <quire/retention/sliding_window.hpp>
#include <quire/retention/snap_kv.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/retention/tova.hpp>
#include <quire/retention/votes.hpp>
