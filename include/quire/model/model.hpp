#pragma once

#include <quire/model/bitsandbytes.hpp>
#include <quire/model/block_panels.hpp>
#include <quire/model/calibration.hpp>
#include <quire/model/calibration_options.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/fusion.hpp>
#include <quire/model/gemm.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/model/kv_calibration.hpp>
#include <quire/model/matrix.hpp>
#include <quire/model/ops.hpp>
#include <quire/model/rope.hpp>
#include <quire/model/shape.hpp>
#include <quire/model/tensor_names.hpp>
#include <quire/model/weight_load.hpp>
#include <quire/model/weights.hpp>
