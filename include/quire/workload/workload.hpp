#pragma once

#include <quire/workload/alpaca.hpp>
#include <quire/workload/arrivals.hpp>
#include <quire/workload/chat.hpp>
#include <quire/workload/conversations.hpp>
#include <quire/workload/generator.hpp>
#include <quire/workload/lengths.hpp>
#include <quire/workload/provenance.hpp>
#include <quire/workload/request.hpp>
#include <quire/workload/reshape.hpp>
#include <quire/workload/shared_prefix.hpp>
#include <quire/workload/sharegpt.hpp>
#include <quire/workload/trace/open_trace.hpp>
#include <quire/workload/trace/share_gpt_json.hpp>
