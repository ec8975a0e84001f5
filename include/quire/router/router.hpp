#pragma once

#include <quire/router/choose.hpp>
#include <quire/router/concepts.hpp>
#include <quire/router/dist_serve.hpp>
#include <quire/router/infaas.hpp>
#include <quire/router/join_shortest_queue.hpp>
#include <quire/router/least_outstanding.hpp>
#include <quire/router/llumnix.hpp>
#include <quire/router/prefix_aware.hpp>
#include <quire/router/random.hpp>
#include <quire/router/round_robin.hpp>
#include <quire/router/splitwise.hpp>
