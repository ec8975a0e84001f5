#pragma once

#include <gtest/gtest.h>

#include <quire/core/type_list.hpp>
#include <quire/retention/retention.hpp>

/// What every retention policy promises: it says at compile time whether blocks can be shared.
namespace quire::retention_test {

/// Every retention policy of the library; a new one is added here.
using all_policies = type_list<retention::KeepAll>;

}  // namespace quire::retention_test
