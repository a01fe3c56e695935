import { amount, type Failure, failures, type MayHearOf, type Rule } from "./feasibility.ts";
import type { Dimension, Host, Requirements } from "./host.ts";

/** What one host says to a workload. */
interface Verdict {
  readonly host: string;
  /** The first rule that failed; undefined when the workload fits. */
  readonly failure: Failure | undefined;
}

export interface Explanation {
  readonly verdicts: readonly Verdict[];
  /** The smallest change that would fit; empty when it fits as it is. */
  readonly suggestion: string;
}

/** Says for every host the first rule that failed, and what would help with the least change. */
export function explain(hosts: readonly Host[], requirements: Requirements, mayHearOf?: MayHearOf): Explanation {
  const answers = hosts.map((host) => ({ host, failed: failures(host, requirements, mayHearOf) }));
  const verdicts = answers.map(({ host, failed }) => ({ host: host.name, failure: failed[0] }));
  if (answers.some(({ failed }) => failed.length === 0)) return { verdicts, suggestion: "" };
  const [nearest] = answers.toSorted((a, b) => distance(a.failed, requirements) - distance(b.failed, requirements));
  if (nearest === undefined) return { verdicts, suggestion: "add a host: none is registered" };
  const changes = nearest.failed.map((failure) => change(failure, nearest.host, requirements));
  return { verdicts, suggestion: `${nearest.host.name} would take it ${changes.join(" and ")}` };
}

/** One line for people: what was asked of each host and why it said no. Tells of at most `limit` hosts. */
export function describeRefusal({ verdicts, suggestion }: Explanation, limit = 20): string {
  const told = verdicts
    .slice(0, limit)
    .flatMap(({ host, failure }) => (failure === undefined ? [] : [`${host}: ${failure.rule}: ${failure.detail}`]));
  if (verdicts.length > limit) told.push(`${verdicts.length - limit} more hosts`);
  return [...told, `nearest: ${suggestion}`].join("; ");
}

const dimensionOf: Partial<Record<Rule, Dimension>> = { cpu: "cpuMillis", memory: "memoryBytes", disk: "diskBytes" };

/** Rules that asking for less does not mend weigh more than any amount of less. */
const hardRuleCost: Partial<Record<Rule, number>> = { port: 10, label: 20, state: 30, capability: 100, host: 200 };

function distance(failed: readonly Failure[], requirements: Requirements): number {
  return failed.reduce((sum, failure) => sum + cost(failure, requirements), 0);
}

/** For an amount, the share of the request that would have to go, in (0, 1]; a host with nothing free is far away. */
function cost({ rule, free = 0 }: Failure, requirements: Requirements): number {
  const dimension = dimensionOf[rule];
  if (dimension === undefined) return hardRuleCost[rule] ?? 0;
  return free === 0 ? 50 : (requirements[dimension] - free) / requirements[dimension];
}

function change(failure: Failure, host: Host, requirements: Requirements): string {
  switch (failure.rule) {
    case "cpu":
      return changeAmount(failure, "cpuMillis", requirements);
    case "memory":
      return changeAmount(failure, "memoryBytes", requirements);
    case "disk":
      return changeAmount(failure, "diskBytes", requirements);
    case "port":
      return "without the host port that is taken";
    case "label":
      return "if it did not have to carry the labels asked for";
    case "host":
      return "if it did not have to be on another host";
    case "capability":
      return "if it could do what is asked for";
    case "state":
      return ["down", "silent"].includes(host.availability) ? "if its agent came back" : "if it were uncordoned";
  }
}

function changeAmount({ free = 0 }: Failure, dimension: Dimension, requirements: Requirements): string {
  const noun = { cpuMillis: "", memoryBytes: " of memory", diskBytes: " of disk" }[dimension];
  if (free > 0)
    return `with ${amount(dimension, free)}${noun} instead of ${amount(dimension, requirements[dimension])}`;
  return `if ${amount(dimension, requirements[dimension])}${noun} were freed there`;
}
