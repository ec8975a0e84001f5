#include <quire/checkpoint/tokenizer/decoder.hpp>

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::tokenizer::Decoder;
using quire::checkpoint::tokenizer::DecoderState;
using testing::ElementsAre;

std::vector<std::string> steps(const Decoder& decoder, const std::vector<std::string>& pieces,
                               bool eager) {
  DecoderState state(decoder, eager);
  std::vector<std::string> out;
  for (const std::string& piece : pieces) state.push(piece, out.emplace_back());
  state.finish(out.emplace_back());
  return out;
}

const Decoder llama = {.kind = Decoder::Kind::pieces,
                       .space = {},
                       .strip_first = false,
                       .replacements = {{"▁", " "}},
                       .byte_fallback = true,
                       .strip = " ",
                       .strip_count = 1};

TEST(Decoder, BytePiecesComeOutAsWholeCharacters) {
  EXPECT_THAT(steps(llama, {"▁a", "<0xE4>", "<0xB8>", "<0xAD>", "<0x41>", "▁b"}, true),
              ElementsAre("a", "", "", "中", "A", " b", ""));
  // Without haste a run waits for its end.
  EXPECT_THAT(steps(llama, {"▁a", "<0xE4>", "<0xB8>", "<0xAD>", "<0x41>", "▁b"}, false),
              ElementsAre("a", "", "", "", "", "中A b", ""));
}

TEST(Decoder, InvalidRunsBecomeOneReplacementAByte) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_THAT(steps(llama, {"<0x41>", "<0xE4>", "<0xB8>", "x"}, false),
              ElementsAre("", "", "", r + r + r + "x", ""));
  EXPECT_THAT(steps(llama, {"<0x41>", "<0xE4>", "<0xB8>", "x"}, true),
              ElementsAre("A", "", "", r + r + "x", ""));
  EXPECT_THAT(steps(llama, {"<0xE4>"}, true), ElementsAre("", r));
}

TEST(Decoder, OnlyTheFirstSpaceIsStripped) {
  EXPECT_THAT(steps(llama, {"▁▁a", "▁b"}, true), ElementsAre(" a", " b", ""));
  EXPECT_THAT(steps(llama, {"<0x20>", "▁b"}, true), ElementsAre("", " b", ""));
  EXPECT_THAT(steps(llama, {"a", "▁b"}, true), ElementsAre("a", " b", ""));
}

TEST(Decoder, ByteLevelHoldsBackHalfCharacters) {
  const Decoder decoder{.kind = Decoder::Kind::byte_level};
  EXPECT_THAT(steps(decoder, {"Ġa", "ä", "¸", "Ń", "ðŁ", "ĺ"}, true),
              ElementsAre(" a", "", "", "中", "", "", "\xEF\xBF\xBD"));
  EXPECT_THAT(steps(decoder, {"ä", "Ġ"}, true), ElementsAre("", "\xEF\xBF\xBD ", ""));
  EXPECT_THAT(steps(decoder, {"中 x"}, true), ElementsAre("中 x", ""));  // not of the alphabet
}

TEST(Decoder, MetaspaceAndJoin) {
  Decoder decoder{.kind = Decoder::Kind::metaspace, .space = "▁", .strip_first = true};
  EXPECT_THAT(steps(decoder, {"▁▁a", "▁b"}, true), ElementsAre("a", " b", ""));
  decoder.strip_first = false;
  EXPECT_THAT(steps(decoder, {"▁a", "▁b"}, true), ElementsAre(" a", " b", ""));
  EXPECT_THAT(steps(Decoder{}, {"a", "b"}, true), ElementsAre("a", " b", ""));
}

}  // namespace
