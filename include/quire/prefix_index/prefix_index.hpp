#pragma once

#include <quire/prefix_index/concepts.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/prefix_index/sibling_order.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
