#include <iostream>

#include <quire/core/core.hpp>

int main() {
  std::cout << quire::blocks_for(100, 16).value << " blocks\n";
  return quire::blocks_for(100, 16) == quire::BlockCount(7) ? 0 : 1;
}
