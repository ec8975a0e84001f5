// What the check that a header compiles alone finds parsed already. A law sees to it that whoever
// uses these includes them (check.py, header_includes_its_standard_headers).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>
