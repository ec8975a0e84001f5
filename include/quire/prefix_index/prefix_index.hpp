#pragma once

#include <quire/prefix_index/concepts.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/prefix_index/radix_tree.hpp>
