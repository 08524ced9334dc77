#!/usr/bin/env bash
# Runs `rtxbench gate` as the action's inputs (GATE_*) say; writes the step summary and the outputs.
set -euo pipefail

baseline=${GATE_BASELINE:-}
if [ -z "$baseline" ] && [ -n "${GATE_BASE_REF:-}" ]; then
  baseline="origin/$GATE_BASE_REF...HEAD" # the merge base: what the branch changed, not what happened beside it
fi
baseline=${baseline:-${GATE_BEFORE:-HEAD~1}}

json=.rtxbench/gate.json
markdown=.rtxbench/gate.md
arguments=(--baseline "$baseline" --candidate "${GATE_CANDIDATE:-.}" --profile "${GATE_PROFILE:-standard}")
arguments+=(--json "$json" --markdown "$markdown")
[ -z "${GATE_MARGIN:-}" ] || arguments+=(--margin "$GATE_MARGIN")
[ -z "${GATE_BUDGET:-}" ] || arguments+=(--budget "$GATE_BUDGET")
while IFS= read -r name; do
  [ -z "$name" ] || arguments+=(--cases "$name")
done <<<"${GATE_CASES:-}"
read -ra options <<<"${GATE_OPTIONS:-}"

rm -f "$json" "$markdown"
code=0
rtxbench gate "${arguments[@]}" ${options[@]+"${options[@]}"} || code=$?

# An installation that crashes leaves with 1 as well; only the gate's own report may accuse the candidate.
if [ "$code" = 1 ] && ! grep -q '"outcome": "regression"' "$json" 2>/dev/null; then
  code=4
fi
case $code in
  0) outcome=pass ;;
  1) outcome=regression ;;
  6) outcome=inconclusive ;;
  *) outcome=error ;;
esac
[ ! -f "$markdown" ] || cat "$markdown" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
{
  echo "outcome=$outcome"
  echo "exit-code=$code"
  echo "markdown=$markdown"
} >>"${GITHUB_OUTPUT:-/dev/stdout}"

if [ "$outcome" = inconclusive ] && [ "${GATE_ON_INCONCLUSIVE:-pass}" = pass ]; then
  echo "::warning title=rtxbench gate::The machine was too noisy to decide; nothing was found against the candidate."
  exit 0
fi
exit "$code"
