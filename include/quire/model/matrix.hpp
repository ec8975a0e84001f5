#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/simd.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/block_panels.hpp>
#include <quire/model/packed_matrix.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::model {

/// Rows of a matrix as they lie in memory, one behind the other.
struct StoredRows {
  const std::byte* begin = nullptr;
  std::size_t count = 0;
};

/// Where a weight matrix W (outputs, inputs) and its bias come from: a checkpoint, or numbers made
/// in a test. Read once, a few rows at a time, so that no second copy of a tensor ever exists.
struct MatrixSource {
  std::size_t outputs = 0;
  std::size_t inputs = 0;
  /// Writes rows [first, first + count) as fp32. \shape values (count, inputs)
  std::function<void(std::size_t first, std::size_t count, float* values)> read;
  std::vector<float> bias;  // \shape (outputs), or empty

  /// Where the checkpoint holds plain numbers: the name of their element (fp32, fp16, bf16), and the rows from
  /// `first` on that lie together. Empty where they are something else, turned, or parts that differ.
  std::string_view element{};
  std::function<StoredRows(std::size_t first)> stored{};

  bool quantised = false;                                 // stored in fewer bits than floats
  std::shared_ptr<const weight_format::Grouped> codes{};  // its integers; null when parts differ
  std::vector<std::string_view> held_by{};                // or formats that hold its numbers
  const weight_format::WeightCodec* codec = nullptr;      // the format, where it is Packed
  std::optional<PackedMatrix> packed{};                   // of an image: nothing else is read then

  /// Where the checkpoint holds blocks: the weight format of the same blocks, or "several kinds", and
  /// what copies rows [first, first + count) of them as they are.
  std::string_view blocks{};
  std::function<void(std::size_t first, std::size_t count, std::byte* rows)> read_blocks{};
  std::size_t block_row_bytes = 0;

  // Where it is stored as the product of two: FactoredMatrix alone takes those, and read is empty.
  std::shared_ptr<const struct FactorSources> factors{};
  std::shared_ptr<const std::vector<MatrixSource>> parts{};  // of which one is such a product

  [[nodiscard]] bool is_factored() const { return factors != nullptr || parts != nullptr; }
};

/// W = out in. \shape in (rank, inputs); out (outputs, rank), with the bias
struct FactorSources {
  MatrixSource in, out;
};

/// The integers of several matrices as those of one; null when they have not the same bits and groups.
[[nodiscard]] inline std::shared_ptr<const weight_format::Grouped> stack_codes(
    const std::vector<MatrixSource>& parts) {
  if (parts.size() == 1 || parts.front().codes == nullptr) return parts.front().codes;
  auto all = std::make_shared<weight_format::Grouped>(*parts.front().codes);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const weight_format::Grouped* part = parts[i].codes.get();
    if (part == nullptr || part->bits != all->bits || part->group != all->group ||
        part->group_of != all->group_of) {
      return nullptr;
    }
    all->outputs += part->outputs;
    all->codes.insert(all->codes.end(), part->codes.begin(), part->codes.end());
    all->scales.insert(all->scales.end(), part->scales.begin(), part->scales.end());
    all->zeros.insert(all->zeros.end(), part->zeros.begin(), part->zeros.end());
  }
  return all;
}

/// Puts matrices with the same inputs on top of each other: one product for several.
/// \pre at least one; either all have a bias or none
[[nodiscard]] inline MatrixSource stack(std::vector<MatrixSource> parts) {
  MatrixSource all;
  all.inputs = parts.front().inputs;
  for (const MatrixSource& part : parts) {
    all.outputs += part.outputs;
    all.bias.insert(all.bias.end(), part.bias.begin(), part.bias.end());
    all.quantised = all.quantised || part.quantised;
  }
  all.codec = parts.front().codec;
  all.element = parts.front().element;
  for (const MatrixSource& part : parts) {
    if (part.element != all.element) all.element = {};
  }
  if (all.quantised) {
    all.codes = stack_codes(parts);
    all.held_by = parts.front().held_by;
    for (const MatrixSource& part : parts) {
      if (part.held_by != all.held_by) all.held_by.clear();
    }
  }
  all.blocks = parts.front().blocks;
  all.block_row_bytes = parts.front().block_row_bytes;
  for (const MatrixSource& part : parts) {
    if (part.blocks != all.blocks) all.blocks = "several kinds of blocks";
  }
  const bool factored = std::any_of(parts.begin(), parts.end(),
                                    [](const MatrixSource& part) { return part.is_factored(); });
  const auto shared = std::make_shared<const std::vector<MatrixSource>>(std::move(parts));
  if (factored) {
    all.parts = shared;
    return all;
  }
  const auto each = [shared](std::size_t first, std::size_t count, auto&& body) {
    std::size_t begin = 0;
    for (const MatrixSource& part : *shared) {
      const std::size_t from = std::max(first, begin);
      const std::size_t to = std::min(first + count, begin + part.outputs);
      if (from < to) body(part, from - begin, to - from, from - first);
      begin += part.outputs;
    }
  };
  if (!all.element.empty()) {
    all.stored = [shared](std::size_t first) {
      for (const MatrixSource& part : *shared) {
        if (first < part.outputs) return part.stored(first);
        first -= part.outputs;
      }
      return StoredRows{};
    };
  }
  all.read = [each](std::size_t first, std::size_t count, float* values) {
    each(first, count,
         [values](const MatrixSource& part, std::size_t from, std::size_t n, std::size_t row) {
           part.read(from, n, values + row * part.inputs);
         });
  };
  all.read_blocks = [each](std::size_t first, std::size_t count, std::byte* rows) {
    each(first, count,
         [&rows](const MatrixSource& part, std::size_t from, std::size_t n, std::size_t /*row*/) {
           part.read_blocks(from, n, rows);
           rows += n * part.block_row_bytes;
         });
  };
  return all;
}

/// Puts rows [first, first + count) of a checkpoint's blocks into a panel as they are.
inline void put_blocks(const BlockPanels& to, const MatrixSource& source, std::size_t first,
                       std::size_t count, std::size_t panel_outputs, std::byte* panel) {
  std::vector<std::byte> rows(count * source.block_row_bytes);
  source.read_blocks(first, count, rows.data());
  const std::size_t blocks = source.block_row_bytes / to.bytes;
  for (std::size_t n = 0; n < count; ++n) {
    for (std::size_t b = 0; b < blocks; ++b) {
      to.put(panel, panel_outputs, source.inputs, n, b, rows.data() + (n * blocks + b) * to.bytes);
    }
  }
}

/// Runs body(i) for i in [0, count), on the pool only where the work is worth waking threads.
/// \unit work: multiply-adds, roughly, of all of it together
template <class Body>
void run_tasks(ThreadPool& threads, std::size_t count, std::size_t work, Body&& body) {
  threads.parallel_for(count, body, work >= 200'000);
}

namespace detail {

/// The format with its functions: by type, or in the source's codec where it is Packed.
template <class Format>
[[nodiscard]] Format format_of([[maybe_unused]] const MatrixSource& source) {
  if constexpr (std::is_same_v<Format, weight_format::Packed>) {
    if (source.codec == nullptr) throw usage_error("a packed matrix", "has no codec", "a format's");
    return Format{source.codec};
  } else {
    return {};
  }
}
template <class Format>
[[nodiscard]] const weight_format::WeightCodec& codec_of([[maybe_unused]] const Format& format) {
  if constexpr (std::is_same_v<Format, weight_format::Packed>) {
    return *format.codec;
  } else {
    return weight_format::codec_of<Format>();
  }
}
template <class Format>
[[nodiscard]] bool takes_codes(const Format& format, const MatrixSource& source) {
  if (!source.quantised) return false;
  if (source.held_by.empty()) {
    return weight_format::takes_codes(codec_of(format), source.codes.get());
  }
  weight_format::check_holds(codec_of(format), source.held_by);
  return false;
}
template <class Format>
void pack_codes(const Format& format, std::byte* panel, std::size_t outputs,
                const weight_format::Grouped& codes, std::size_t first) {
  codec_of(format).pack_codes(panel, outputs, codes, first);
}
template <class Format>
[[nodiscard]] bool has_product(const Format& format) {
  return codec_of(format).add_products != nullptr;
}

}  // namespace detail

/// A weight matrix in panels of one format, and its product with a batch of rows.
/// Each element of y is one chain of fused multiply-adds, bias first, inputs ascending, or what the
/// format's own product makes of the bias: its bits do not depend on how many rows the batch has or on
/// the number of threads.
template <weight_format::WeightStorage Format>
class PanelMatrix {
 public:
  static constexpr std::size_t panel_outputs = simd::round_up(16, simd::tile_width);

  PanelMatrix() = default;
  PanelMatrix(const MatrixSource& source, ThreadPool& threads)
      : outputs_(source.outputs),
        inputs_(source.inputs),
        format_(detail::format_of<Format>(source)),
        panel_bytes_(format_.panel_bytes(panel_outputs, source.inputs)),
        panels_((source.outputs + panel_outputs - 1) / panel_outputs),
        bias_(panels_ * panel_outputs) {
    std::copy(source.bias.begin(), source.bias.end(), bias_.data());
    if (source.packed) {
      memory_ = MatrixBytes(*source.packed, panels_, panel_bytes_);
      order_.assign(source.packed->order.begin(), source.packed->order.end());
      return;
    }
    memory_ = MatrixBytes(panels_ * panel_bytes_);
    std::byte* const room = memory_.room();
    if (detail::takes_codes(format_, source)) {
      std::shared_ptr<const weight_format::Grouped> codes = source.codes;
      if (!codes->group_of.empty()) {  // GPTQ in the order of activations
        order_ = weight_format::order_by_group(*codes);
        codes =
            std::make_shared<weight_format::Grouped>(weight_format::with_inputs(*codes, order_));
      }
      threads.parallel_for(panels_, [&](std::size_t p) {
        detail::pack_codes(format_, room + p * panel_bytes_, panel_outputs, *codes,
                           p * panel_outputs);
      });
      return;
    }
    if (const BlockPanels* blocks = takes_blocks(detail::codec_of(format_), source.blocks)) {
      threads.parallel_for(panels_, [&](std::size_t p) {
        const std::size_t first = p * panel_outputs;
        put_blocks(*blocks, source, first, std::min(panel_outputs, outputs_ - first), panel_outputs,
                   room + p * panel_bytes_);
      });
      return;
    }
    threads.parallel_for(panels_, [&](std::size_t p) {
      std::vector<float> rows(panel_outputs * inputs_, 0.0f);
      const std::size_t first = p * panel_outputs;
      source.read(first, std::min(panel_outputs, outputs_ - first), rows.data());
      format_.pack(room + p * panel_bytes_, panel_outputs, inputs_, rows.data());
    });
  }

  [[nodiscard]] std::size_t outputs() const { return outputs_; }
  [[nodiscard]] std::size_t inputs() const { return inputs_; }
  /// Outputs rounded up to whole panels: what a row of y must have room for.
  [[nodiscard]] std::size_t padded_outputs() const { return panels_ * panel_outputs; }
  [[nodiscard]] std::size_t bytes() const { return memory_.size(); }
  [[nodiscard]] bool empty() const { return outputs_ == 0; }
  /// Has it read, where it lies in an image and nobody has used it yet (MatrixBytes::fetch).
  void fetch(bool alone) const { memory_.fetch(alone); }
  /// What an image keeps of it; valid as long as the matrix.
  [[nodiscard]] PackedMatrix packed() const {
    return {.bytes = {memory_.data(), memory_.size()},
            .pieces = panels_,
            .piece_bytes = panel_bytes_,
            .bias = {bias_.data(), outputs_},
            .order = order_,
            .owner = memory_.owner()};
  }

  /// Reads one row of W back as fp32. \shape values (inputs)
  void read_row(std::size_t output, float* values) const {
    format_.read(memory_.data() + output / panel_outputs * panel_bytes_, panel_outputs, inputs_,
                 output % panel_outputs, values);
    if (order_.empty()) return;
    const std::vector<float> ordered(values, values + inputs_);
    for (std::size_t k = 0; k < inputs_; ++k) values[order_[k]] = ordered[k];
  }

  /// Whether two matrices of as many outputs stand on top of each other in whole panels.
  [[nodiscard]] bool halves() const { return panels_ % 2 == 0 && outputs_ == padded_outputs(); }
  /// Whether a product of so many rows is another library's (WeightCodec::multiply_many).
  [[nodiscard]] bool by_library(std::size_t rows) const {
    const weight_format::WeightCodec& codec = detail::codec_of(format_);
    return codec.multiply_many != nullptr && rows >= codec.many;
  }
  /// The product of both halves, a panel of one together with its panel of the other: join(row, at,
  /// first, second, n) gets outputs [at, at + n) of each half of a row, bit for bit those of
  /// multiply(). \pre halves()
  template <class Join>
  void multiply_halves(const float* x, std::size_t x_stride, std::size_t rows, ThreadPool& threads,
                       const Join& join) const {
    const AlignedArray<float> gathered = in_order(x, x_stride, rows, threads);
    if (!order_.empty()) x = gathered.data(), x_stride = inputs_;
    std::byte* packed = nullptr;
    std::size_t row_bytes = 0;
    const weight_format::WeightCodec& codec = detail::codec_of(format_);
    const bool own_product = !PlainWeightFormat<Format> && detail::has_product(format_);
    if (own_product) {
      row_bytes = codec.row_bytes(inputs_);
      packed = threads.scratch(rows * row_bytes);
      run_tasks(threads, rows, rows * inputs_ * 4, [&](std::size_t r) {
        codec.pack_row(x + r * x_stride, inputs_, packed + r * row_bytes);
      });
    }
    const std::size_t half = panels_ / 2, chunks = (rows + chunk_rows - 1) / chunk_rows;
    run_tasks(threads, half * chunks, rows * inputs_ * outputs_, [&](std::size_t task) {
      const std::size_t p = task / chunks, first = task % chunks * chunk_rows;
      const std::size_t count = std::min(chunk_rows, rows - first);
      alignas(64) float both[2][chunk_rows * panel_outputs];
      for (std::size_t which = 0; which < 2; ++which) {
        const std::size_t panel = p + which * half;
        if (own_product) {
          for (std::size_t r = 0; r < count; ++r) {
            std::copy_n(bias_.data() + panel * panel_outputs, panel_outputs,
                        both[which] + r * panel_outputs);
          }
          codec.add_products(memory_.data() + panel * panel_bytes_, panel_outputs, inputs_,
                             packed + first * row_bytes, count, both[which], panel_outputs);
        } else {
          multiply_panel(panel, x + first * x_stride, x_stride, count, both[which], panel_outputs);
        }
      }
      for (std::size_t r = 0; r < count; ++r) {
        join(first + r, p * panel_outputs, both[0] + r * panel_outputs, both[1] + r * panel_outputs,
             panel_outputs);
      }
    });
  }

  /// y = x W^T + bias. \shape x (rows, inputs); y (rows, padded_outputs)
  void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                std::size_t y_stride, ThreadPool& threads) const {
    const AlignedArray<float> gathered = in_order(x, x_stride, rows, threads);
    if (!order_.empty()) x = gathered.data(), x_stride = inputs_;
    if constexpr (!PlainWeightFormat<Format>) {
      if (detail::has_product(format_)) {
        return multiply_packed(x, x_stride, rows, y, y_stride, threads);
      }
    }
    const std::size_t chunks = (rows + chunk_rows - 1) / chunk_rows;
    run_tasks(threads, panels_ * chunks, rows * inputs_ * outputs_, [&](std::size_t task) {
      const std::size_t p = task / chunks, first = task % chunks * chunk_rows;
      multiply_panel(p, x + first * x_stride, x_stride, std::min(chunk_rows, rows - first),
                     y + first * y_stride + p * panel_outputs, y_stride);
    });
  }

 private:
  /// The same with a product of the format's own.
  void multiply_packed(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                       std::size_t y_stride, ThreadPool& threads) const {
    const weight_format::WeightCodec& codec = detail::codec_of(format_);
    const std::size_t row_bytes = codec.row_bytes(inputs_);
    std::byte* packed = threads.scratch(rows * row_bytes);
    run_tasks(threads, rows, rows * inputs_ * 4, [&](std::size_t r) {
      codec.pack_row(x + r * x_stride, inputs_, packed + r * row_bytes);
    });
    if (by_library(rows)) return multiply_many(packed, row_bytes, rows, y, y_stride, threads);
    const std::size_t chunks = (rows + chunk_rows - 1) / chunk_rows;
    run_tasks(threads, panels_ * chunks, rows * inputs_ * outputs_, [&](std::size_t task) {
      const std::size_t p = task / chunks, first = task % chunks * chunk_rows;
      const std::size_t count = std::min(chunk_rows, rows - first);
      float* to = y + first * y_stride + p * panel_outputs;
      for (std::size_t r = 0; r < count; ++r) {
        std::copy_n(bias_.data() + p * panel_outputs, panel_outputs, to + r * y_stride);
      }
      codec.add_products(memory_.data() + p * panel_bytes_, panel_outputs, inputs_,
                         packed + first * row_bytes, count, to, y_stride);
    });
  }

  /// Rows with their inputs in the order that the panels have them in; nothing where that is their own.
  AlignedArray<float> in_order(const float* x, std::size_t x_stride, std::size_t rows,
                               ThreadPool& threads) const {
    if (order_.empty()) return {};
    AlignedArray<float> gathered(rows * inputs_);
    run_tasks(threads, rows, rows * inputs_, [&](std::size_t r) {
      for (std::size_t k = 0; k < inputs_; ++k) {
        gathered[r * inputs_ + k] = x[r * x_stride + order_[k]];
      }
    });
    return gathered;
  }

  /// The same by another library, which each thread calls for a part of the outputs.
  void multiply_many(const std::byte* packed, std::size_t row_bytes, std::size_t rows, float* y,
                     std::size_t y_stride, ThreadPool& threads) const {
    constexpr std::size_t most_panels = 8, most_rows = 256;
    const weight_format::WeightCodec& codec = detail::codec_of(format_);
    const std::size_t chunks = (rows + most_rows - 1) / most_rows;
    const std::size_t parts = (panels_ + most_panels - 1) / most_panels;
    run_tasks(threads, parts * chunks, rows * inputs_ * outputs_, [&](std::size_t task) {
      const std::size_t p = task / chunks * most_panels, first = task % chunks * most_rows;
      const std::size_t count = std::min(most_rows, rows - first);
      const std::size_t panels = std::min(most_panels, panels_ - p);
      const std::byte* const from = packed + first * row_bytes;
      const float* const bias = bias_.data() + p * panel_outputs;
      float* to = y + first * y_stride + p * panel_outputs;
      const bool done =
          codec.multiply_many(memory_.data() + p * panel_bytes_, panels * panel_outputs, inputs_,
                              from, count, to, y_stride);
      for (std::size_t r = 0; r < count; ++r) {
        for (std::size_t n = 0; n < panels * panel_outputs; ++n) {
          to[r * y_stride + n] = done ? to[r * y_stride + n] + bias[n] : bias[n];
        }
      }
      for (std::size_t i = 0; !done && i < panels; ++i) {
        codec.add_products(memory_.data() + (p + i) * panel_bytes_, panel_outputs, inputs_, from,
                           count, to + i * panel_outputs, y_stride);
      }
    });
  }

  // Rows whose inputs stay in the second-level cache together with a panel, and inputs whose part
  // of a panel stays in the first-level cache while all those rows pass.
  static constexpr std::size_t chunk_rows = 96;
  static constexpr std::size_t chunk_inputs = 128;

  // Measured on one row of bf16 from memory: 8.5 GB/s without, 9.5, 10.0, 10.5 and 10.3 at 1, 2, 4
  // and 8 KiB, of 12.6 that fp32 reads, into the first-level cache and on small pages; on huge pages 13.4
  // of 16.7, and 14.6 into the second-level cache.
  static constexpr std::size_t prefetch_bytes = 4096;

  /// Columns of fp32 in the first-level cache; what the next ones are made of is fetched.
  struct ColumnsAhead {
    const float* panel;
    const std::byte* ahead;  // a line for each input
    HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) const {
      if (v == 0) simd::fetch_ahead(ahead + 64 * k);
      return simd::load(panel + k * panel_outputs + v * simd::lanes);
    }
  };

  template <class Element>
  struct Columns {
    const Element* panel;
    HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) const {
      const Element* row = panel + k * panel_outputs;
      // Widening takes so many instructions per line that too few loads are under way at once.
      if constexpr (sizeof(Element) < sizeof(float)) {
        simd::fetch_of_stream(row + v * simd::lanes + prefetch_bytes / sizeof(Element));
      }
      return simd::load(row + v * simd::lanes);
    }
  };

  void multiply_panel(std::size_t p, const float* x, std::size_t x_stride, std::size_t rows,
                      float* y, std::size_t y_stride) const {
    const std::byte* panel = memory_.data() + p * panel_bytes_;
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy_n(bias_.data() + p * panel_outputs, panel_outputs, y + r * y_stride);
    }
    if constexpr (PlainWeightFormat<Format>) {
      using Element = typename Format::Element;
      const auto* elements = reinterpret_cast<const Element*>(panel);
      if constexpr (sizeof(Element) < sizeof(float)) {
        if (rows > simd::tile_rows)
          return multiply_widened(elements, x, x_stride, rows, y, y_stride);
      }
      const std::size_t step = rows > simd::tile_rows ? chunk_inputs : inputs_;
      for (std::size_t k = 0; k < inputs_; k += step) {
        add_product(elements + k * panel_outputs, std::min(step, inputs_ - k), x + k, x_stride,
                    rows, y, y_stride);
      }
    } else {
      const weight_format::WeightCodec& codec = detail::codec_of(format_);
      if (codec.add_few != nullptr && rows <= simd::tile_rows) {
        return codec.add_few(panel, panel_outputs, inputs_, x, x_stride, rows, y, y_stride);
      }
      alignas(64) float part[chunk_inputs * panel_outputs];
      for (std::size_t k = 0; k < inputs_; k += chunk_inputs) {
        const std::size_t count = std::min(chunk_inputs, inputs_ - k);
        const float* values = part;
        if (codec.floats) {
          values = reinterpret_cast<const float*>(panel) + k * panel_outputs;
        } else {
          format_.unpack(panel, panel_outputs, inputs_, k, count, part);
        }
        add_product(values, count, x + k, x_stride, rows, y, y_stride);
      }
    }
  }

  /// Several tiles of rows share the work of widening: it takes a third of the multiply-adds' time.
  template <class Element>
  void multiply_widened(const Element* elements, const float* x, std::size_t x_stride,
                        std::size_t rows, float* y, std::size_t y_stride) const {
    alignas(64) float part[chunk_inputs * panel_outputs];
    for (std::size_t k = 0; k < inputs_; k += chunk_inputs) {
      const std::size_t count = std::min(chunk_inputs, inputs_ - k);
      const Element* from = elements + k * panel_outputs;
      for (std::size_t i = 0; i < count * panel_outputs; i += simd::lanes) {
        simd::store(simd::load(from + i), part + i);
      }
      add_product_ahead(part, count, x + k, x_stride, rows, y, y_stride,
                        reinterpret_cast<const std::byte*>(from + count * panel_outputs));
    }
  }

  /// As add_product(), while the first tiles fetch what follows: by then memory would be waited for.
  static void add_product_ahead(const float* part, std::size_t inputs, const float* x,
                                std::size_t x_stride, std::size_t rows, float* y,
                                std::size_t y_stride, const std::byte* ahead) {
    std::size_t r = 0;
    for (; r < 2 * simd::tile_rows && r + simd::tile_rows <= rows; r += simd::tile_rows) {
      for (std::size_t n = 0; n < panel_outputs; n += simd::tile_width, ahead += 64 * inputs) {
        simd::multiply_tile<simd::tile_rows, simd::tile_vectors>(
            0, inputs, x + r * x_stride, x_stride, ColumnsAhead{part + n, ahead}, true,
            y + r * y_stride + n, y_stride);
      }
    }
    add_product(part, inputs, x + r * x_stride, x_stride, rows - r, y + r * y_stride, y_stride);
  }

  template <class Element>
  static void add_product(const Element* panel, std::size_t inputs, const float* x,
                          std::size_t x_stride, std::size_t rows, float* y, std::size_t y_stride) {
    for (std::size_t n = 0; n < panel_outputs; n += simd::tile_width) {
      simd::multiply_rows<simd::tile_vectors>(rows, 0, inputs, x, x_stride,
                                              Columns<Element>{panel + n}, true, y + n, y_stride);
    }
  }

  std::size_t outputs_ = 0, inputs_ = 0;
  [[no_unique_address]] Format format_{};
  std::size_t panel_bytes_ = 0, panels_ = 0;
  MatrixBytes memory_;
  AlignedArray<float> bias_;
  std::vector<std::uint32_t> order_;  // of inputs, where the panels' is not the matrix's own
};

/// A table that is only looked up, row by row: token embeddings that are not also the output
/// matrix, learned positions. Each row is a panel of one output.
template <weight_format::WeightStorage Format>
class RowTable {
 public:
  RowTable() = default;
  RowTable(const MatrixSource& source, ThreadPool& threads)
      : rows_(source.outputs),
        width_(source.inputs),
        format_(detail::format_of<Format>(source)),
        row_bytes_(format_.panel_bytes(1, source.inputs)) {
    if (source.packed) {
      memory_ = MatrixBytes(*source.packed, rows_, row_bytes_);
      return;
    }
    memory_ = MatrixBytes(rows_ * row_bytes_);
    std::byte* const room = memory_.room();
    if (const BlockPanels* blocks = takes_blocks(detail::codec_of(format_), source.blocks)) {
      threads.parallel_for(rows_, [&](std::size_t i) {
        put_blocks(*blocks, source, i, 1, 1, room + i * row_bytes_);
      });
      return;
    }
    constexpr std::size_t step = 64;
    threads.parallel_for((rows_ + step - 1) / step, [&](std::size_t chunk) {
      std::vector<float> values(step * width_);
      const std::size_t first = chunk * step, count = std::min(step, rows_ - first);
      source.read(first, count, values.data());
      for (std::size_t i = 0; i < count; ++i) {
        format_.pack(room + (first + i) * row_bytes_, 1, width_, &values[i * width_]);
      }
    });
  }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t bytes() const { return memory_.size(); }
  [[nodiscard]] bool empty() const { return rows_ == 0; }
  /// What an image keeps of it; valid as long as the table.
  [[nodiscard]] PackedMatrix packed() const {
    return {.bytes = {memory_.data(), memory_.size()}, .pieces = rows_, .piece_bytes = row_bytes_};
  }
  /// \shape values (width)
  void read_row(std::size_t row, float* values) const {
    format_.read(memory_.data() + row * row_bytes_, 1, width_, 0, values);
  }

 private:
  std::size_t rows_ = 0, width_ = 0;
  [[no_unique_address]] Format format_{};
  std::size_t row_bytes_ = 0;
  MatrixBytes memory_;
};

}  // namespace quire::model
