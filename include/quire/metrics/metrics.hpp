#pragma once

#include <quire/metrics/chrome_trace.hpp>
#include <quire/metrics/distribution.hpp>
#include <quire/metrics/jain.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/metrics/memory_accounting.hpp>
#include <quire/metrics/request_record.hpp>
#include <quire/metrics/result_row.hpp>
#include <quire/metrics/row_file.hpp>
#include <quire/metrics/run_provenance.hpp>
#include <quire/metrics/serving_summary.hpp>
#include <quire/metrics/slo.hpp>
#include <quire/metrics/weighted_mean.hpp>
