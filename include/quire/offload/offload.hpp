#pragma once

#include <quire/offload/concepts.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/recompute_single_swap_group.hpp>
#include <quire/offload/swap_to_host.hpp>
