#include <quire/model/block_panels.hpp>

#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/ggml_blocks.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/q4_k.hpp>
#include <quire/weight_format/q8_0.hpp>

namespace quire::model {
namespace {

using checkpoint::TensorView;

/// A tensor of ggml's own writer, as weights.hpp hands it on.
MatrixSource source_of(const checkpoint::gguf::File& file, const std::string& name,
                       const weight_format::WeightCodec& codec) {
  for (const auto& t : file.tensors) {
    if (t.name != name) continue;
    const TensorView view{t.name, t.dtype, t.shape, t.bytes};
    MatrixSource m;
    m.outputs = static_cast<std::size_t>(t.shape[0]);
    m.inputs = static_cast<std::size_t>(t.shape[1]);
    m.read = [view, inputs = t.shape[1]](std::size_t first, std::size_t count, float* values) {
      checkpoint::read_elements(view, static_cast<std::int64_t>(first) * inputs,
                                {values, count * static_cast<std::size_t>(inputs)});
    };
    m.blocks = checkpoint::functions_of(t.dtype).format;
    m.block_row_bytes = t.bytes.size() / m.outputs;
    m.read_blocks = [view, bytes = m.block_row_bytes](std::size_t first, std::size_t count,
                                                      std::byte* to) {
      std::copy_n(view.bytes.data() + first * bytes, count * bytes, to);
    };
    m.codec = &codec;
    return m;
  }
  throw state_error(name, "no such tensor");
}

TEST(BlockPanels, KeepACheckpointsBlocksBitForBit) {
  const auto file = checkpoint::gguf::open_file("tests/golden/formats/mixed.gguf");
  const auto& q4_k = weight_format::codec_of<weight_format::Q4K>();
  ThreadPool threads(2);
  // q on top of k on top of v, as they are read.
  std::vector<MatrixSource> parts;
  std::vector<float> want;
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    parts.push_back(source_of(file, name, q4_k));
    const MatrixSource& part = parts.back();
    want.resize(want.size() + part.outputs * part.inputs);
    part.read(0, part.outputs, want.data() + want.size() - part.outputs * part.inputs);
  }
  const PanelMatrix<weight_format::Packed> packed(stack(std::move(parts)), threads);
  ASSERT_EQ(packed.outputs() * packed.inputs(), want.size());
  std::vector<float> row(packed.inputs());
  for (std::size_t n = 0; n < packed.outputs(); ++n) {
    packed.read_row(n, row.data());
    ASSERT_TRUE(std::equal(row.begin(), row.end(),
                           want.begin() + static_cast<std::ptrdiff_t>(n * packed.inputs())));
  }
  const auto& q8_0 = weight_format::codec_of<weight_format::Q80>();
  const MatrixSource embedding = source_of(file, "token_embd.weight", q8_0);
  const RowTable<weight_format::Packed> table(embedding, threads);
  std::vector<float> all(embedding.outputs * embedding.inputs);
  embedding.read(0, embedding.outputs, all.data());
  for (std::size_t n = 0; n < table.rows(); ++n) {
    table.read_row(n, row.data());
    ASSERT_TRUE(std::equal(row.begin(), row.end(),
                           all.begin() + static_cast<std::ptrdiff_t>(n * embedding.inputs)));
  }
}

TEST(BlockPanels, OtherBlocksAreRefusedAndFloatsTakeAll) {
  const auto& q8_0 = weight_format::codec_of<weight_format::Q80>();
  EXPECT_NE(takes_blocks(q8_0, "q8_0"), nullptr);
  EXPECT_EQ(takes_blocks(q8_0, ""), nullptr);
  EXPECT_EQ(takes_blocks(weight_format::codec_of<weight_format::Fp32>(), "q4_k"), nullptr);
  try {
    (void)takes_blocks(q8_0, "q4_k");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "weight format q8_0: the checkpoint is quantised already, in q4_k; expected q4_k, "
                 "or fp32, fp16 or bf16 for this checkpoint");
  }
}

}  // namespace
}  // namespace quire::model
