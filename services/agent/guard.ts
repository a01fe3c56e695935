import { createInterface } from "node:readline";
import { GuestAgentChannel } from "./qemu/guest-agent.ts";

/**
 * The guard: a small process beside the agent that thaws guests when the agent cannot. It is told of each freeze
 * before it happens, over its standard input, which ends when the agent does.
 *
 * When the agent is gone, every guest with a lease is thawed at once. When a lease is not given back in time the
 * agent is alive but stuck, and holds the guest's one agent channel (a QEMU socket serves one client): so it is
 * killed first. Its supervisor starts it again, and it adopts what runs.
 */

export type GuardOrder =
  | { readonly arm: string; readonly socket: string; readonly windowMs: number }
  | { readonly disarm: string };

export interface GuardReply {
  readonly armed: string;
}

/** What a late agent gets beyond the window before it is killed. */
const GRACE_MS = 5_000;
const THAW_TRIES = 60;
const THAW_MS = 5_000;

const leases = new Map<string, { socket: string; timer: NodeJS.Timeout }>();
const agentPid = Number(process.argv[2]);

function take(order: GuardOrder): void {
  if ("disarm" in order) release(order.disarm);
  else arm(order);
}

/** Arming again begins a new window. */
function arm({ arm: id, socket, windowMs }: Extract<GuardOrder, { readonly arm: string }>): void {
  release(id);
  const timer = setTimeout(() => endAgent(id), windowMs + GRACE_MS);
  leases.set(id, { socket, timer });
  const reply: GuardReply = { armed: id };
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

function release(id: string): void {
  clearTimeout(leases.get(id)?.timer);
  leases.delete(id);
}

function endAgent(id: string): void {
  console.error(`guard: the agent is late with the thaw of ${id}; it is killed`);
  // Its standard streams end with it; the rest happens in thawAll.
  if (process.ppid === agentPid) process.kill(agentPid, "SIGKILL");
}

async function thawAll(): Promise<void> {
  await Promise.all([...leases].map(([id, { socket }]) => thaw(id, socket)));
}

async function thaw(id: string, socket: string): Promise<void> {
  for (let left = THAW_TRIES; left > 0; left--) {
    const channel = new GuestAgentChannel(socket);
    try {
      const thawed = await channel.call<number>("guest-fsfreeze-thaw", undefined, THAW_MS);
      return console.error(`guard: thawed ${thawed} file systems of ${id}`);
    } catch (error) {
      console.error(`guard: ${id} is not thawed yet: ${String(error)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    } finally {
      channel.close();
    }
  }
}

process.on("SIGTERM", () => undefined); // only the end of the agent, and of its leases, ends it
process.on("SIGINT", () => undefined);
process.stdout.on("error", () => undefined);
const lines = createInterface(process.stdin);
lines.on("line", (line) => take(JSON.parse(line) as GuardOrder));
lines.once("close", () => void thawAll().finally(() => process.exit(0)));
