import { isLong } from "#libs/testing";

/** How often something is done: in `make test`, and in `make test-faults`. */
interface Count {
  readonly short: number;
  readonly long: number;
}

/** Part of a row of the fault matrix. The titles of its tests begin with the row: "F7: ...". */
export interface MatrixLine extends Partial<Count> {
  readonly row: string;
  /** test/faults/<file>.test.ts, or a path. */
  readonly file: string;
  readonly what: string;
}

/** The fault matrix: what is done to what, and how often. F15, a power cut of guests with the whole stack, is not ours. */
export const matrix = {
  operations: { row: "F1", file: "test/sim/operations", what: "seeds of the simulation of operations" },
  cluster: { row: "F1", file: "test/sim/cluster", what: "seeds of the simulation of hosts, owners and leases" },
  steps: { row: "F2 F3", file: "kill-at-steps", what: "kill -9 at every moment of every step of a VM's jobs" },
  containers: { row: "F2 F3", file: "containers", what: "the same in a container's life" },
  copies: { row: "F2 F3", file: "container-copies", what: "the same while its checkpoints are copied" },
  containerMoves: { row: "F2 F3", file: "container-move", what: "the same while it moves to another host" },
  hosts: {
    row: "F2 F3 F5 F9",
    file: "host-failure",
    what: "the same while a VM moves or is recovered; a host that dies",
  },
  lostAnswers: { row: "F2", file: "lost-answers", what: "an answer is lost after the work was done" },
  kill: { row: "F4", file: "replicas", what: "kill -9 of any of our processes, every 1 to 2 s", short: 8, long: 100 },
  schedulers: {
    ...{ row: "F4 F9", file: "scheduler-replicas", short: 6, long: 18 },
    what: "scheduler replicas are killed and put to sleep in turn",
  },
  qemu: { row: "F5", file: "agent", what: "kill -9 of a guest's QEMU", short: 1, long: 40 },
  agents: { row: "F3 F5", file: "agent", what: "kill -9 of the agent, also in the middle of a freeze; of all at once" },
  power: { row: "F5", file: "power", what: "a VM that dies, is paused or is off in the middle of a checkpoint" },
  nats: { row: "F6", file: "replicas", what: "kill -9 of a single NATS", short: 2, long: 40 },
  servers: { row: "F6 F8", file: "servers", what: "NATS and Redis fail in the middle of a job" },
  natsLeader: { row: "F7", file: "nats-cluster", what: "kill -9 of the leader of three NATS", short: 1, long: 10 },
  natsOne: { row: "F7", file: "nats-cluster", what: "kill -9 of one of three", short: 0, long: 12 },
  natsTwo: { row: "F7", file: "nats-cluster", what: "kill -9 of two of three", short: 0, long: 8 },
  natsAll: { row: "F7", file: "nats-cluster", what: "kill -9 of all three", short: 1, long: 8 },
  redisPartition: { row: "F8", file: "redis-failover", what: "failover by partition", short: 1, long: 8 },
  redisEmptied: { row: "F8", file: "redis-failover", what: "FLUSHALL", short: 1, long: 8 },
  redisKilled: { row: "F8", file: "redis-failover", what: "kill -9 of the primary", short: 1, long: 10 },
  redisCut: { row: "F8", file: "redis-failover", what: "the primary's log is cut short", short: 0, long: 8 },
  pause: { row: "F9", file: "replicas", what: "SIGSTOP for 2 to 3 times the lease", short: 4, long: 40 },
  lease: {
    row: "F9",
    file: "lease",
    what: "agent, guard or owner are silent beyond a host's lease",
    short: 2,
    long: 12,
  },
  containerHosts: {
    ...{ row: "F9", file: "container-recovery" },
    what: "hosts with containers are cut off or fail; agents and guards are killed",
  },
  partition: {
    ...{ row: "F10", file: "partitions", short: 3, long: 15 },
    what: "hosts, NATS nodes and the gateway are cut off, deaf, mute, lose 30 %, are reset",
  },
  fleet: { row: "F10", file: "fleet", what: "of a simulated fleet a third loses its power or its network" },
  silence: {
    ...{ row: "F11", file: "silent-peers", short: 3, long: 30 },
    what: "a peer that accepts and says nothing, is late, or sends 1 KB/s",
  },
  guestAgent: { row: "F11", file: "guest-agent", what: "a guest's agent that is mute, late, or talks nonsense" },
  fullHost: {
    row: "F12",
    file: "full-disk",
    what: "a host's disk fills up in the middle of a job",
  },
  fullServer: { row: "F12", file: "full-server", what: "the disk of NATS or Redis is full", short: 3, long: 30 },
  fullRegistry: { row: "F12", file: "registry-full-store", what: "the registry's disk or bucket is full" },
  damage: { row: "F13", file: "damage", what: "files of a checkpoint are cut, altered, missing", short: 6, long: 18 },
  hostDamage: {
    ...{ row: "F13", file: "host-damage", short: 4, long: 40 },
    what: "a host's own files, backups and blobs are cut or altered",
  },
  disaster: { row: "F13", file: "disaster", what: "NATS's data is gone, twice" },
  clocks: {
    row: "F14",
    file: "replicas",
    what: "wall clocks jump by an hour, run twice as fast, or backwards",
    short: 3,
    long: 16,
  },
  killAll: {
    row: "F16",
    file: "replicas",
    what: "everything is killed at once, started in random order",
    short: 1,
    long: 8,
  },
  upgrade: {
    row: "F17",
    file: "replicas",
    what: "every process is replaced, from the last release",
    short: 1,
    long: 2,
  },
  starve: { row: "F18", file: "replicas", what: "no more files, no more memory", short: 2, long: 16 },
  poison: { row: "F19", file: "replicas", what: "jobs that always fail, or kill their worker", short: 1, long: 6 },
  block: { row: "F20", file: "replicas", what: "an event loop that is blocked beyond the lease", short: 2, long: 16 },
} as const satisfies Readonly<Record<string, MatrixLine>>;

export const lines: readonly MatrixLine[] = Object.values(matrix);

type Counted = { [Id in keyof typeof matrix]: (typeof matrix)[Id] extends Count ? Id : never }[keyof typeof matrix];

/** How many faults of a line: in the short suite, in the long one, or as STILLPOINT_FAULT_COUNT says. */
export function countOf(line: Counted): number {
  const { short, long } = matrix[line];
  return Number(process.env.STILLPOINT_FAULT_COUNT ?? (isLong ? long : short));
}

/** About how many minutes a file takes in the long suite on two cores; `alone`: it keeps both busy by itself. */
export const longFiles: Readonly<Record<string, { readonly minutes: number; readonly alone?: true }>> = {
  replicas: { minutes: 18, alone: true },
  "nats-cluster": { minutes: 6, alone: true },
  "redis-failover": { minutes: 6, alone: true },
  partitions: { minutes: 7, alone: true },
  fleet: { minutes: 6, alone: true },
  "kill-at-steps": { minutes: 14 },
  "host-failure": { minutes: 8 },
  agent: { minutes: 4 },
  lease: { minutes: 3 },
  "container-recovery": { minutes: 1 },
  "container-copies": { minutes: 3 },
  containers: { minutes: 3 },
  "silent-peers": { minutes: 2 },
  "full-disk": { minutes: 2 },
  "full-server": { minutes: 1.5 },
  "guest-agent": { minutes: 2 },
  damage: { minutes: 1 },
  "host-damage": { minutes: 2 },
  servers: { minutes: 2 },
  disaster: { minutes: 2 },
  "container-move": { minutes: 1.5 },
  "scheduler-replicas": { minutes: 1.5 },
  power: { minutes: 1 },
  "registry-full-store": { minutes: 0.5 },
  "lost-answers": { minutes: 0.5 },
};

/** What README.md has of it. */
export function matrixTable(): string {
  const count = (of: number | undefined) => (of === undefined ? "" : `${of}`);
  const rows = lines
    .toSorted((a, b) => orderOf(a) - orderOf(b))
    .map(({ row, what, file, short, long }) => `| ${row} | ${what} | \`${file}\` | ${count(short)} | ${count(long)} |`);
  return ["| row | what | file | short | long |", "|---|---|---|---|---|", ...rows].join("\n");
}

const orderOf = ({ row }: MatrixLine): number => Number(/\d+/.exec(row)?.[0]);
