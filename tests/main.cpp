#include <gmock/gmock.h>

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  if (argc > 1) return 2;  // what GoogleTest did not take is a typing error, not a test
  return RUN_ALL_TESTS();
}
