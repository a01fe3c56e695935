import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { bootClock } from "./boot-clock.ts";
import type { FencedProcess, FenceOrder, FenceStart, FenceWord, GuardContainer } from "./fence-protocol.ts";
import { GuardedGroups } from "./guarded-groups.ts";
import { formerSecondGone, Second } from "./second.ts";

/**
 * The fence guard: the parent of every process that must not run without the host's lease. It outlives agents; they
 * connect to its socket, one at a time, the newest one counts. When the lease's deadline passes it pauses its children
 * by itself, with SIGSTOP, which no program can refuse, whatever becomes of the agent; they go on only when an agent
 * says so while the lease is valid. When it dies its children die with it: each is started by setpriv(1), which asks
 * the kernel for that (PR_SET_PDEATHSIG, after the change of user, which would clear it) before it becomes the program.
 *
 * Containers are the engine's children: it freezes those by their control groups, without the engine. They outlive it; its
 * second freezes them when it dies, and the next guard holds them so.
 *
 * It works in the agent's data folder, where its socket is, and ends when it has neither child, container nor agent.
 */

const SOCKET = "fence.sock";
/** For an agent that finds it stuck. */
const PID_FILE = "fence.pid";

/** So much later than the deadline a child may run, and a little for the kernel. */
const LOOK_MS = 100;

const ENDED_MS = 2_000;

interface Child {
  readonly process: ChildProcess;
  heldAtMs: number | undefined;
}

const children = new Map<string, Child>();
let deadlineMs = 0;
let agent: Socket | undefined;
const containers = new GuardedGroups({ clock: bootClock, tell });
const second = new Second();

function tell(word: FenceWord): void {
  agent?.write(`${JSON.stringify(word)}\n`);
}

/** The last line of an agent that was killed may be half of one. */
function take(line: string): void {
  try {
    obey(JSON.parse(line) as FenceOrder);
  } catch (error) {
    console.error(`fence guard: an order was not carried out: ${String(error)}`);
  }
}

function obey(order: FenceOrder): void {
  if ("renew" in order) renew(order.renew);
  else if ("start" in order) tryToStart(order.start);
  else if ("guard" in order) guard(order.guard);
  else if ("release" in order) release(order.release);
  else if ("hold" in order) hold(order.hold);
  else resume(order.resume);
}

/** The second knows it before the agent hears that it is guarded. */
function guard(container: GuardContainer): void {
  const isNew = !containers.list().some(({ id }) => id === container.id);
  containers.guard(container, isOver(), () => {
    if (isNew) tellSecond();
  });
}

function release(uid: string): void {
  containers.release(uid);
  tellSecond();
}

const tellSecond = (): void => second.tell(containers.list().map(({ id }) => id));

const isOver = (): boolean => bootClock() >= deadlineMs;

function renew(untilMs: number): void {
  deadlineMs = Math.max(deadlineMs, untilMs);
  tell({ renewed: untilMs });
}

function tryToStart(order: FenceStart): void {
  try {
    const former = children.get(order.uid);
    if (isOver()) throw new Error("the host's lease has run out");
    if (former === undefined) start(order);
    else startAfter(former, order);
  } catch (error) {
    tell({ failed: order.uid, why: String(error) });
  }
}

/** One that was just ended may be dead, and its end not noticed here yet. */
function startAfter({ process: former }: Child, order: FenceStart): void {
  const again = () => {
    clearTimeout(timer);
    tryToStart(order);
  };
  const timer = setTimeout(() => {
    former.off("exit", again);
    tell({ failed: order.uid, why: "it runs already" });
  }, ENDED_MS);
  former.once("exit", again);
}

function start({ uid, program, args, cwd, env, log, user }: FenceStart): void {
  const output = openSync(log, "a", 0o600);
  const command = ["--pdeathsig", "KILL", "--", program, ...args];
  const as = user === null ? {} : { uid: user, gid: user };
  const child = spawn("setpriv", command, { cwd, env, detached: true, stdio: ["ignore", output, output], ...as });
  closeSync(output);
  child.once("error", (error) => tell({ failed: uid, why: error.message }));
  child.once("spawn", () => {
    children.set(uid, { process: child, heldAtMs: undefined });
    tell({ started: uid, pid: child.pid ?? 0 });
  });
  child.once("exit", () => {
    children.delete(uid);
    tell({ exited: uid });
    endIfIdle();
  });
}

/** Asked again it answers again: whoever asks may not have heard. */
function hold(uid: string): void {
  const child = children.get(uid);
  containers.hold(uid);
  if (child === undefined) return;
  child.heldAtMs ??= bootClock();
  child.process.kill("SIGSTOP");
  tell({ held: uid, atMs: child.heldAtMs });
}

function resume(uid: string): void {
  const child = children.get(uid);
  if (isOver()) return;
  containers.resume(uid);
  if (child === undefined) return;
  child.heldAtMs = undefined;
  child.process.kill("SIGCONT");
  tell({ resumed: uid });
}

function look(): void {
  const over = isOver();
  containers.look(over);
  if (over) for (const [uid, { heldAtMs }] of children) if (heldAtMs === undefined) hold(uid);
}

function welcome(socket: Socket): void {
  agent?.destroy();
  agent = socket;
  const known = [...children].map(([uid, { process: child, heldAtMs }]): FencedProcess => {
    return { uid, pid: child.pid ?? 0, ...(heldAtMs !== undefined && { heldAtMs }) };
  });
  tell({ guardPid: process.pid, deadlineMs, children: known, containers: containers.list() });
  createInterface(socket)
    .on("line", take)
    .on("error", () => undefined);
  socket.on("error", () => undefined); // "close" follows
  socket.once("close", () => {
    if (agent === socket) agent = undefined;
    endIfIdle();
  });
}

function endIfIdle(): void {
  if (agent === undefined && children.size === 0 && containers.size === 0) process.exit(0);
}

// Whatever goes wrong in here, it is no reason to end its children, nor to stop looking.
process.on("uncaughtException", (error) => console.error(`fence guard: ${error.stack}`));
process.on("SIGTERM", () => undefined); // nobody's stop is its children's end
process.on("SIGINT", () => undefined);
process.umask(0o077);
await formerSecondGone();
// Of one that was killed: who starts a guard has found none.
rmSync(SOCKET, { force: true });
createServer(welcome).listen(SOCKET, () => writeFileSync(PID_FILE, String(process.pid)));
setInterval(look, LOOK_MS);
