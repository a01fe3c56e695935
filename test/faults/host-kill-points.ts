import { isLong } from "#libs/testing";

/** Where the process dies: of the VM service, of the agent that it leaves, of the one that it comes to. */
const movePoints = [
  ["vm.move.stop.committed", "vm"],
  ["vm.move.push.after", "vm"],
  ["vm.move.switch.before", "vm"],
  ["vm.move.switch.after", "vm"],
  ["vm.move.conclude.before", "vm"],
  ["agent.take-offline.after", "source"],
  ["agent.receive-checkpoint.filled", "target"],
  ["agent.delete-vm.after", "source"],
] as const;

/** Where the process dies: of the VM service, of the scheduler, of the agent that it comes to. */
const recoverPoints = [
  ["vm.recover.check.committed", "vm"],
  ["vm.recover.place.after", "vm"],
  ["vm.recover.bring.after", "vm"],
  ["vm.recover.switch.before", "vm"],
  ["vm.recover.switch.after", "vm"],
  ["vm.recover.go-on.after", "vm"],
  ["vm.recover.conclude.before", "vm"],
  ["agent.create-vm.after", "target"],
  ["agent.receive-checkpoint.filled", "target"],
  ["agent.start-vm.after", "target"],
] as const;

/** In the short suite. A drain there has a move that is killed. */
const few = ["vm.recover.switch.after"];
const chosen = (points: readonly (readonly [string, string])[]) =>
  points
    .filter(([at]) => isLong || few.includes(at))
    .map(([at, who]) => [at.startsWith("agent.") ? "F3" : "F2", at, who] as const);

export const chosenMovePoints = chosen(movePoints);
export const chosenRecoverPoints = chosen(recoverPoints);
/** Names of all failpoints. */
export const everyPoint = [...new Set([...movePoints, ...recoverPoints].map(([at]) => at))];
