/** What is checked the same in the spec of any workload. Pure, so that a service's domain may use it. */
export {
  commandProblems,
  durationProblems,
  hostProblems,
  imageProblems,
  integerProblems,
  type Length,
  labelProblems,
  type Problem,
  portProblems,
  type RecoveryToCheck,
  recoveryProblems,
} from "./spec-checks.ts";
