#pragma once

#include <cstddef>
#include <string>

#include <quire/checkpoint/model_config.hpp>

namespace quire::model {

/// How a model's linear layers are rounded to integers.
struct CalibrationOptions {
  enum class Method { round_to_nearest, gptq, awq };
  Method method = Method::gptq;
  unsigned bits = 4;
  std::size_t group = 128;  // inputs with one scale; 0: all of a row
  bool symmetric = true;
  bool act_order = false;  // of GPTQ
  checkpoint::Quantisation::Layout layout = checkpoint::Quantisation::Layout::gptq_v2;
};

/// What a matrix's outputs lost: squared error over the calibration texts, beside the squared outputs.
struct LayerError {
  std::string name;
  double error = 0, outputs = 0;
  double promised =
      0;  // of factors of low rank: what the method says that it loses, in its own measure
};

}  // namespace quire::model
