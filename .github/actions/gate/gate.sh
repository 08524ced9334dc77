#!/usr/bin/env bash
# Runs `rtxbench gate` as the action's inputs (GATE_*) say; writes the step summary and the outputs.
set -euo pipefail

baseline=${GATE_BASELINE:-}
if [ -z "$baseline" ] && [ -n "${GATE_BASE_REF:-}" ]; then
  baseline="origin/$GATE_BASE_REF...HEAD" # the merge base: what the branch changed, not what happened beside it
fi
before=${GATE_BEFORE:-}
if [ -z "$baseline" ] && [ -n "${before//0/}" ]; then
  baseline=$before
elif [ -z "$baseline" ] && [ -n "${GATE_DEFAULT_BRANCH:-}" ]; then
  baseline="origin/$GATE_DEFAULT_BRANCH...HEAD" # first push of a branch: the commit before it is all zeros
fi
baseline=${baseline:-HEAD~1}

json=.rtxbench/gate.json
markdown=.rtxbench/gate.md
arguments=("--baseline=$baseline" "--candidate=${GATE_CANDIDATE:-.}" "--profile=${GATE_PROFILE:-standard}")
arguments+=("--json=$json" "--markdown=$markdown")
[ -z "${GATE_BUDGET:-}" ] || arguments+=("--budget=$GATE_BUDGET")
while IFS= read -r margin; do
  [ -z "$margin" ] || arguments+=("--margin=$margin")
done <<<"${GATE_MARGIN:-}"
while IFS= read -r name; do
  [ -z "$name" ] || arguments+=("--cases=$name")
done <<<"${GATE_CASES:-}"
while IFS= read -r line; do
  read -ra words <<<"$line"
  for word in ${words[@]+"${words[@]}"}; do
    case $word in
      --json | --json=* | --markdown | --markdown=*)
        echo "rtxbench gate: ${word%%=*} cannot be among the options: the action reads its own file." >&2
        exit 2
        ;;
    esac
    arguments+=("$word")
  done
done <<<"${GATE_OPTIONS:-}"

rm -f "$json" "$markdown"
code=0
# What the gate prints quotes the code under test: the runner must not take a line of it for a command.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
[ -z "${GITHUB_ACTIONS:-}" ] || echo "::stop-commands::$token"
rtxbench gate "${arguments[@]}" || code=$?
[ -z "${GITHUB_ACTIONS:-}" ] || echo "::$token::"

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
