// What is lost when a sequence keeps part of its past. README.md says what is run and why.
#include <experiments/retention/policy.hpp>

int main(int argc, char** argv) { return quire::retention_lab::run(argc, argv); }
