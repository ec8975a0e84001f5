#pragma once

#include <quire/attention/alibi.hpp>
#include <quire/attention/causal.hpp>
#include <quire/attention/code_products.hpp>
#include <quire/attention/code_tile.hpp>
#include <quire/attention/combined.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/reference.hpp>
#include <quire/attention/retained.hpp>
#include <quire/attention/selected.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/attention/soft_cap.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/attention/workspace.hpp>
