#pragma once

#include <quire/cost_model/affine.hpp>
#include <quire/cost_model/affine_coefficients.hpp>
#include <quire/cost_model/calibrate.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/hardware_file.hpp>
#include <quire/cost_model/host_overhead.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/cost_model/product_profile.hpp>
#include <quire/cost_model/profile_layouts.hpp>
#include <quire/cost_model/profile_rows.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/cost_model/tabulated.hpp>
#include <quire/cost_model/transfers.hpp>
