#!/usr/bin/env bash
# Builds every fuzz target in build/fuzz and runs each for SECONDS (default 60): tests/fuzz/run.sh [SECONDS]
# What they find lies in build/fuzz/findings; the corpus that they grow stays in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-60}
build=build/fuzz

cmake -S tests/fuzz -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_COMPILER=clang++ >/dev/null
cmake --build "$build"
python3 tests/fuzz/seeds.py "$build/seeds"
python3 tools/simulator/tests/fuzz/seeds.py "$build/seeds"
mkdir -p "$build/seeds/image" "$build/seeds/config" "$build/logs" "$build/findings"
cp tests/pictures/*.png tests/pictures/*.jpg "$build/seeds/image"
cp models/configs/*.json "$build/seeds/config"

fuzz() { # NAME
  local name=$1 dictionary=() file
  mkdir -p "$build/corpus/$name"
  for file in tests/fuzz/"$name".dict tools/simulator/tests/fuzz/"$name".dict; do
    if [[ -f $file ]]; then dictionary=(-dict="$file"); fi
  done
  "$build/bin/${name}_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "${dictionary[@]}" "$build/corpus/$name" "$build/seeds/$name" \
    >"$build/logs/$name.txt" 2>&1
}

names=()
for source in tests/fuzz/*_fuzz.cpp tools/simulator/tests/fuzz/*_fuzz.cpp; do names+=("$(basename "$source" _fuzz.cpp)"); done

# As many at a time as there are processors.
passed=0 failed=0 running=()
finish() { # "NAME PID"
  local name pid runs
  read -r name pid <<<"$1"
  if wait "$pid"; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/logs/$name.txt")
    printf '%-12s %s inputs, nothing found\n' "$name" "$runs"
    passed=$((passed + 1))
  else
    printf '%-12s FAILED\n' "$name"
    tail -n 40 "$build/logs/$name.txt"
    failed=$((failed + 1))
  fi
}
for name in "${names[@]}"; do
  if ((${#running[@]} >= $(nproc))); then
    finish "${running[0]}"
    running=("${running[@]:1}")
  fi
  fuzz "$name" &
  running+=("$name $!")
done
for entry in "${running[@]}"; do finish "$entry"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
