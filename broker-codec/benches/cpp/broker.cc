// Decodes and encodes values with Broker 1.4 (Debian's libbroker-dev) for benches/against_broker.rs.
//
// Standard input: one value in the binary format a line, in hex. Argument: seconds to measure for. Standard output: a line with 1 for
// each value that is written as it was read, 0 for others; then the nanoseconds of the fastest pass over the former, decoding and
// encoding.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

#include <broker/data.hh>

using buffer = std::vector<char>;

static int digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

template <class Pass>
static long long fastest(double seconds, Pass pass) {
  using clock = std::chrono::steady_clock;
  auto best = std::numeric_limits<long long>::max();
  auto end = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
  do {
    auto start = clock::now();
    pass();
    auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start);
    best = std::min<long long>(best, taken.count());
  } while (clock::now() < end);
  return best;
}

int main(int argc, char** argv) {
  double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  std::vector<buffer> inputs;
  for (std::string line; std::getline(std::cin, line);) {
    buffer input;
    for (size_t i = 0; i + 1 < line.size(); i += 2)
      input.push_back(static_cast<char>(digit(line[i]) << 4 | digit(line[i + 1])));
    inputs.push_back(std::move(input));
  }

  std::vector<broker::data> values;
  std::vector<buffer> alike;
  for (auto& input : inputs) {
    broker::data value;
    caf::binary_deserializer source{nullptr, input};
    buffer again;
    caf::binary_serializer sink{nullptr, again};
    bool is_alike = !source(value) && !sink(value) && again == input;
    std::cout << (is_alike ? '1' : '0');
    if (is_alike) {
      values.push_back(std::move(value));
      alike.push_back(std::move(input));
    }
  }
  std::cout << std::endl;
  inputs = std::move(alike);

  size_t used = 0;
  std::cout << fastest(seconds, [&] {
    for (auto& input : inputs) {
      broker::data value;
      caf::binary_deserializer source{nullptr, input};
      if (source(value))
        std::abort();
      used += value.get_data().index();
    }
  }) << '\n';
  std::cout << fastest(seconds, [&] {
    for (auto& value : values) {
      buffer bytes;
      bytes.reserve(256);
      caf::binary_serializer sink{nullptr, bytes};
      if (sink(value))
        std::abort();
      used += bytes.size();
    }
  }) << '\n';
  return used == 0;
}
