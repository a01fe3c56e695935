import type { ServiceName } from "../harness/cluster.ts";

/** Where a process can be killed: at one of the three moments of a step. */
export interface KillPoint {
  readonly scenario: ScenarioName;
  readonly failpoint: string;
  /** The process that comes by there. */
  readonly service: ServiceName;
}

export type ScenarioName = "create" | "start" | "production" | "standard" | "apply-production" | "apply-standard";

/** The steps that each scenario goes through, by the process that runs them. */
const steps: Readonly<Record<ScenarioName, readonly string[]>> = {
  create: ["vm.create.place", "vm.create.make", "vm.create.start", "agent.create-vm", "agent.start-vm"],
  start: ["vm.start.start", "agent.start-vm"],
  production: [
    "checkpoint.create.prepare",
    "checkpoint.create.production",
    "checkpoint.create.verify",
    "checkpoint.create.publish",
    "agent.take-production",
    "agent.verify-checkpoint",
  ],
  standard: ["checkpoint.create.standard", "agent.take-standard"],
  "apply-production": ["checkpoint.apply.apply", "checkpoint.apply.move-head", "agent.apply-checkpoint"],
  "apply-standard": ["checkpoint.apply.apply", "agent.apply-checkpoint"],
};

const moments = ["before", "after", "committed"] as const;
type Moment = (typeof moments)[number];

/** Between freeze and thaw the process that holds the thaw dies. */
const frozen: KillPoint = { scenario: "production", failpoint: "agent.take-production.frozen", service: "agent" };

/** Every kill point there is. */
export const allKillPoints: readonly KillPoint[] = [
  ...Object.entries(steps).flatMap(([scenario, names]) =>
    names.flatMap((name) => moments.map((moment) => killPoint(scenario as ScenarioName, name, moment))),
  ),
  frozen,
];

/**
 * The points of the short suite: each effect that was done and not yet committed, and of the others as many as
 * `sample`, drawn by the seed.
 */
export function shortList(seed: number, sample: number): KillPoint[] {
  const isMust = ({ failpoint }: KillPoint) => failpoint.endsWith(".after") || failpoint === frozen.failpoint;
  const others = allKillPoints.filter((point) => !isMust(point));
  const random = mulberry32(seed);
  const drawn = others
    .map((point) => ({ point, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .slice(0, sample)
    .map(({ point }) => point);
  return [...allKillPoints.filter(isMust), ...drawn];
}

function killPoint(scenario: ScenarioName, step: string, moment: Moment): KillPoint {
  return { scenario, failpoint: `${step}.${moment}`, service: step.split(".")[0] as ServiceName };
}

/** A small seeded generator, so that a sample can be drawn again. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
