// mechanism: run-time quantities of token retention
#pragma once

#include <cstdint>

#include <quire/core/units.hpp>

namespace quire {

/// How much of a sequence's past a retention policy keeps; behaviours are types, these are values.
/// A policy reads the fields that its paper has, and no others.
struct RetentionLimits {
  /// Tokens that each layer and head keeps from one step to the next; a step's own tokens are
  /// attended to besides.
  Tokens budget = 1024;
  Tokens sinks = 4;          // streaming_llm: first tokens of the text that always stay
  Tokens recent = 10;        // scissorhands: last tokens that always stay
  Tokens history = 400;      // scissorhands: queries whose attention counts
  Tokens observation = 32;   // snap_kv, pyramid_kv: last queries of the prompt that vote, and stay
  std::int64_t pooling = 7;  // snap_kv, pyramid_kv: neighbours that share a vote, odd
  std::int64_t pyramid_slope = 20;  // pyramid_kv: the last layer has the mean part over this
  std::int64_t dense_layers = 2;    // quest: first layers that attend to everything
};

}  // namespace quire
