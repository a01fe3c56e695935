import type { ServiceName } from "../harness/cluster.ts";
import { draw } from "./draw.ts";

/** Where a process can be killed: at one of the moments of a step, of an undo, or of a job's end. */
export interface KillPoint {
  readonly scenario: ScenarioName;
  readonly failpoint: string;
  /** The process that comes by there. */
  readonly service: ServiceName;
}

/** The steps that each scenario goes through, by the process that runs them. */
const steps = {
  create: ["vm.create.place", "vm.create.make", "vm.create.start", "agent.create-vm", "agent.start-vm"],
  start: ["vm.start.start", "agent.start-vm"],
  stop: ["vm.stop.stop", "agent.stop-vm"],
  "delete-vm": ["vm.delete.destroy", "vm.delete.release", "agent.delete-vm"],
  production: [
    "checkpoint.create.prepare",
    "checkpoint.create.production",
    "checkpoint.create.verify",
    "checkpoint.create.publish",
    "agent.take-production",
    "agent.verify-checkpoint",
  ],
  standard: ["checkpoint.create.standard", "agent.take-standard"],
  offline: ["checkpoint.create.offline", "agent.take-offline"],
  fallback: [
    "checkpoint.create.production",
    "checkpoint.create.standard",
    "agent.take-production",
    "agent.take-standard",
  ],
  refused: ["agent.take-production", "agent.discard-checkpoint"],
  "apply-production": ["checkpoint.apply.apply", "checkpoint.apply.move-head", "agent.apply-checkpoint"],
  "apply-standard": ["checkpoint.apply.apply", "checkpoint.apply.settle", "agent.apply-checkpoint"],
  "delete-checkpoint": [
    "checkpoint.delete.mark",
    "checkpoint.delete.remove",
    "checkpoint.delete.forget",
    "agent.remove-checkpoints",
  ],
  clone: [
    ...["create-vm", "hold", "receive", "publish", "apply", "move-head", "start"].map(
      (step) => `checkpoint.receive.${step}`,
    ),
    "agent.receive-checkpoint",
  ],
  "group-create": [
    ...["hold", "production", "publish", "publish-group"].map((step) => `checkpoint.group-create.${step}`),
    "agent.hold-frozen",
    "agent.thaw-held",
  ],
  "group-delete": ["mark", "remove", "forget", "forget-group"].map((step) => `checkpoint.group-delete.${step}`),
  schedule: ["take", "plan", "delete"].map((step) => `schedule.run.${step}`),
  drill: ["checkpoint.drill.create-vm", "checkpoint.drill.try", "checkpoint.drill.remove"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type ScenarioName = keyof typeof steps | "delete-oldest" | "clone-in-vain" | TransportScenario;

/** With the registry: `pull` makes a VM; `-cancelled` is what its user cancels while the agent is dead. */
export type TransportScenario = "push" | "push-cancelled" | "pull" | "pull-cancelled";

/** Between the write of the target's new state and that of the operation's end. */
const ends: readonly (readonly [ScenarioName, string])[] = [
  ["create", "vm.create.conclude"],
  ["start", "vm.start.conclude"],
  ["stop", "vm.stop.conclude"],
  ["delete-vm", "vm.delete.conclude"],
  ["production", "checkpoint.create.conclude"],
  ["refused", "checkpoint.create.conclude"],
  ["refused", "checkpoint.create.production.undo"],
  ["apply-production", "checkpoint.apply.conclude"],
  ["delete-checkpoint", "checkpoint.delete.conclude"],
  ["clone", "checkpoint.receive.conclude"],
  ["clone-in-vain", "checkpoint.receive.create-vm.undo"],
  ["drill", "checkpoint.drill.conclude"],
  ["push", "checkpoint.push.conclude"],
  ["schedule", "schedule.run.conclude"],
  ["group-create", "checkpoint.group-create.conclude"],
  ["group-delete", "checkpoint.group-delete.conclude"],
];

/** Within a step, where a guest is frozen or stands, or files are half changed. */
const inside: readonly (readonly [ScenarioName, string])[] = [
  ["production", "agent.take-production.frozen"],
  ["standard", "agent.take-standard.stopped"],
  ["standard", "agent.take-standard.resumed"],
  ["apply-standard", "agent.apply-checkpoint.switched"],
  ["delete-checkpoint", "agent.remove-checkpoints.forgotten"],
  ["delete-checkpoint", "agent.merge.begun"],
  ["delete-checkpoint", "agent.merge.merged"],
  ["delete-checkpoint", "agent.merge.saved"],
  ["delete-oldest", "agent.merge.switching"],
  ["clone", "agent.receive-checkpoint.filled"],
  ["push", "agent.push-checkpoint.chunk"],
  ["push", "agent.push-checkpoint.after"],
  ["push", "checkpoint.push.push.after"],
  ["push", "checkpoint.push.record.after"],
  ["group-create", "checkpoint.group-create.production.frozen"],
  ["group-create", "checkpoint.group-create.production.taken"],
  ["push-cancelled", "agent.push-checkpoint.chunk"],
  ["pull", "agent.receive-checkpoint.chunk"],
  ["pull-cancelled", "agent.receive-checkpoint.chunk"],
];

/** The same of a merge down, where the agent's own tests kill it too. */
const insideDown = ["begun", "copied", "merged", "saved"].map((moment) => `agent.merge.${moment}`);

/** Every kill point there is. */
export const allKillPoints: readonly KillPoint[] = [
  ...Object.entries(steps).flatMap(([scenario, names]) =>
    names.flatMap((name) => points(scenario as ScenarioName, name, ["before", "after", "committed"])),
  ),
  ...ends.flatMap(([scenario, name]) => points(scenario, name, ["before", "after"])),
  ...inside.map(([scenario, failpoint]) => killPoint(scenario, failpoint)),
  ...insideDown.map((failpoint) => killPoint("delete-oldest", failpoint)),
];

/**
 * The points of the short suite, drawn by the seed: for each scenario an effect on a host that was done and not yet
 * committed, or the inside of a step, and of all the others as many as `sample`.
 */
export function shortList(seed: number, sample: number): KillPoint[] {
  const isMust = ({ scenario, failpoint }: KillPoint) =>
    /^agent\..*\.after$/.test(failpoint) || inside.some(([where, name]) => where === scenario && name === failpoint);
  const ofEach = Object.values(Object.groupBy(allKillPoints.filter(isMust), ({ scenario }) => scenario));
  const musts = ofEach.flatMap((points) => draw(points, seed, 1));
  return [...musts, ...draw(allKillPoints, seed, sample).filter((point) => !musts.includes(point))];
}

function points(scenario: ScenarioName, name: string, moments: readonly string[]): KillPoint[] {
  return moments.map((moment) => killPoint(scenario, `${name}.${moment}`));
}

function killPoint(scenario: ScenarioName, failpoint: string): KillPoint {
  const [kind = ""] = failpoint.split(".");
  // Schedules are run by the checkpoint service.
  return { scenario, failpoint, service: kind === "schedule" ? "checkpoint" : (kind as ServiceName) };
}
