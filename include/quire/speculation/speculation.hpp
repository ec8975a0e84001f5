#pragma once

#include <quire/speculation/concepts.hpp>
#include <quire/speculation/draft_model.hpp>
#include <quire/speculation/none.hpp>
#include <quire/speculation/prompt_lookup.hpp>
