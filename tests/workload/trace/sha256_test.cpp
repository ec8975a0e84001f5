#include <quire/workload/trace/sha256.hpp>

#include <string>

#include <gtest/gtest.h>

namespace {

std::string digest(std::string_view text, std::size_t piece) {
  quire::workload::trace::Sha256 sha;
  for (std::size_t i = 0; i < text.size(); i += piece) sha.update(text.substr(i, piece));
  return sha.hex();
}

TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(digest("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 7),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1000000, 'a'), 4093),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PadsEveryLengthAlikeInPieces) {
  for (std::size_t length = 50; length < 140; ++length) {
    const std::string text(length, 'q');
    EXPECT_EQ(digest(text, 1), digest(text, 64)) << length;
  }
}

}  // namespace
