#include <cstring>

#include "planted.h"

// planted NAME [fixed]: runs one case; without arguments lists "name<TAB>fault".
int main(int count, char** arguments) {
  for (auto part : {planted::memory_cases, planted::initialization_cases, planted::shared_race_cases,
                    planted::global_race_cases, planted::synchronization_cases, planted::api_cases}) {
    for (const planted::Case& one : part()) {
      if (count < 2) {
        std::printf("%s\t%s\n", one.name, one.fault);
      } else if (std::strcmp(one.name, arguments[1]) == 0) {
        one.run(count > 2);
        cudaDeviceSynchronize();
        return 0;
      }
    }
  }
  return count < 2 ? 0 : 2;
}
