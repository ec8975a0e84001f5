#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quire::experiment {

/// Request `request` begins with the first `tokens` tokens of request `as`.
struct SharedPrefix {
  std::size_t request, as;
  std::int64_t tokens;
};

/// Which prompts of the two workloads begin alike: turns of one conversation. The files of timings keep
/// lengths alone, and an engine that caches prefixes finds 7 % of these tokens. Computed from the token
/// ids of LLMServingSim's workload files (MIT), longest common prefix with any earlier request, 16
/// tokens or more; a set of timings names its workload by SHA-256.
namespace shared_prefixes {

inline constexpr std::array llama_sharegpt{
    SharedPrefix{47, 40, 455},   SharedPrefix{66, 35, 633},    SharedPrefix{68, 28, 363},
    SharedPrefix{79, 17, 859},   SharedPrefix{88, 27, 327},    SharedPrefix{93, 82, 629},
    SharedPrefix{117, 45, 389},  SharedPrefix{128, 63, 843},   SharedPrefix{139, 117, 996},
    SharedPrefix{140, 76, 391},  SharedPrefix{152, 31, 38},    SharedPrefix{158, 107, 616},
    SharedPrefix{173, 153, 460}, SharedPrefix{174, 38, 1320},  SharedPrefix{177, 22, 483},
    SharedPrefix{180, 61, 824},  SharedPrefix{183, 31, 319},   SharedPrefix{184, 151, 579},
    SharedPrefix{188, 138, 721}, SharedPrefix{200, 109, 262},  SharedPrefix{209, 201, 607},
    SharedPrefix{220, 146, 522}, SharedPrefix{223, 36, 814},   SharedPrefix{227, 226, 520},
    SharedPrefix{235, 56, 838},  SharedPrefix{237, 207, 1265}, SharedPrefix{265, 149, 596},
    SharedPrefix{280, 147, 831}, SharedPrefix{281, 186, 817},  SharedPrefix{285, 165, 735},
    SharedPrefix{287, 111, 448}, SharedPrefix{293, 163, 262}};

inline constexpr std::array qwen_sharegpt{
    SharedPrefix{47, 40, 485},   SharedPrefix{67, 35, 649},   SharedPrefix{70, 28, 363},
    SharedPrefix{82, 17, 1347},  SharedPrefix{91, 27, 330},   SharedPrefix{96, 85, 638},
    SharedPrefix{122, 45, 427},  SharedPrefix{133, 64, 852},  SharedPrefix{146, 122, 1072},
    SharedPrefix{147, 78, 398},  SharedPrefix{159, 31, 38},   SharedPrefix{165, 112, 629},
    SharedPrefix{180, 160, 473}, SharedPrefix{181, 38, 1352}, SharedPrefix{185, 22, 503},
    SharedPrefix{188, 62, 826},  SharedPrefix{189, 184, 257}, SharedPrefix{192, 31, 319},
    SharedPrefix{193, 158, 581}, SharedPrefix{197, 145, 721}, SharedPrefix{209, 114, 262},
    SharedPrefix{218, 210, 607}, SharedPrefix{229, 153, 526}, SharedPrefix{232, 36, 900},
    SharedPrefix{236, 235, 520}, SharedPrefix{245, 57, 842},  SharedPrefix{247, 216, 1265},
    SharedPrefix{276, 156, 635}, SharedPrefix{291, 154, 863}, SharedPrefix{292, 195, 830},
    SharedPrefix{296, 172, 737}, SharedPrefix{298, 116, 448}};

}  // namespace shared_prefixes

/// The table of the workload with that SHA-256; empty for another.
[[nodiscard]] inline std::span<const SharedPrefix> shared_prefixes_of(std::string_view sha256) {
  if (sha256 == "05e48b32da530d4a3dd77f3d47c6fe694ac8308d611aa088e38bb10fba2b3b3a") {
    return shared_prefixes::llama_sharegpt;
  }
  if (sha256 == "4af54eb2f7ac12b0856a1668e367fc8a330acd37c4f6c3e336ae02229e21a8bb") {
    return shared_prefixes::qwen_sharegpt;
  }
  return {};
}

}  // namespace quire::experiment
