#pragma once

#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/host_overhead.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/cost_model/tabulated.hpp>
#include <quire/cost_model/transfers.hpp>
