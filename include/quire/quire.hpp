#pragma once

#include <quire/checkpoint/checkpoint.hpp>
#include <quire/core/core.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/executor/executor.hpp>
#include <quire/memory/memory.hpp>
#include <quire/model/model.hpp>
#include <quire/offload/offload.hpp>
#include <quire/prefix_index/prefix_index.hpp>
#include <quire/reservation/reservation.hpp>
#include <quire/retention/retention.hpp>
#include <quire/sampling/sampling.hpp>
#include <quire/workload/workload.hpp>
