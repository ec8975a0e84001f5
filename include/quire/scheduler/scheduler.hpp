#pragma once

#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/chunked_prefill.hpp>
#include <quire/scheduler/concepts.hpp>
#include <quire/scheduler/dynamic_batch.hpp>
#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/length_oracle.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/scheduler/longest_prefix.hpp>
#include <quire/scheduler/mlfq.hpp>
#include <quire/scheduler/orca.hpp>
#include <quire/scheduler/priority.hpp>
#include <quire/scheduler/sequence_group.hpp>
#include <quire/scheduler/sjf.hpp>
#include <quire/scheduler/srpt.hpp>
#include <quire/scheduler/static_batch.hpp>
#include <quire/scheduler/vtc.hpp>
