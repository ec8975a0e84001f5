#pragma once

#include <quire/reservation/concepts.hpp>
#include <quire/reservation/max_length.hpp>
#include <quire/reservation/on_demand.hpp>
#include <quire/reservation/oracle.hpp>
#include <quire/reservation/power_of_two.hpp>
#include <quire/reservation/request_limit.hpp>
