import type { ExecRequest, ExecResponse } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { GuestAgentChannel } from "./qemu/guest-agent.ts";
import { GuestAgentError } from "./qemu/guest-agent.ts";
import type { Workload } from "./workload.ts";

const DEFAULT_SECONDS = 60;
const LONGEST_SECONDS = 3_600;
const FIRST_LOOK_MS = 10;
const SLOWEST_LOOK_MS = 50;
const PIECE_BYTES = 256 * 1024;

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  readonly "out-data"?: string;
  readonly "err-data"?: string;
}

/**
 * Runs a command in the guest and gives what it printed, then its exit code (128 + signal when it was killed).
 * @throws StillpointError VM_STATE, GUEST_AGENT_ABSENT at once without an agent, DEADLINE_EXCEEDED: the command goes on
 */
export async function* execInGuest(
  workload: Workload,
  request: ExecRequest,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): AsyncGenerator<ExecResponse> {
  const [path, ...arg] = request.command;
  if (path === undefined) throw new StillpointError("ARGUMENT_INVALID", "there is no command to run");
  const { guest } = await listeningMachine(workload);
  const seconds = Math.min(request.timeoutSeconds || DEFAULT_SECONDS, LONGEST_SECONDS);
  const giveUp = clock.monotonicMs() + seconds * 1000;
  const input = request.stdin.length > 0 ? { "input-data": Buffer.from(request.stdin).toString("base64") } : {};
  const { pid } = await begin(guest, { path, arg, "capture-output": true, ...input });
  for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(pauseMs + FIRST_LOOK_MS, SLOWEST_LOOK_MS)) {
    const status = await guest.call<ExecStatus>("guest-exec-status", { pid });
    if (status.exited) return yield* answers(status);
    if (clock.monotonicMs() > giveUp) {
      throw new StillpointError("DEADLINE_EXCEEDED", `${path} did not end in ${seconds} s`, {
        help: "It still runs in the guest; pass a longer time limit.",
      });
    }
    await clock.sleep(pauseMs, signal);
  }
}

async function listeningMachine(workload: Workload) {
  const machine = workload.runningMachine("running a command");
  if ((await machine.state()) !== "running") {
    throw new StillpointError("VM_STATE", `${workload.definition.name} is paused; a command needs it to run`);
  }
  if (await machine.guestIsListening()) return machine;
  throw new StillpointError("GUEST_AGENT_ABSENT", `no guest agent listens in ${workload.definition.name}`);
}

async function begin(guest: GuestAgentChannel, args: object): Promise<{ pid: number }> {
  try {
    return await guest.call<{ pid: number }>("guest-exec", args);
  } catch (error) {
    if (!(error instanceof GuestAgentError)) throw error;
    throw new StillpointError("GUEST_AGENT_FAILED", `the guest refused the command: ${error.message}`, {
      cause: error,
    });
  }
}

function* answers(status: ExecStatus): Generator<ExecResponse> {
  const nothing = Buffer.alloc(0);
  for (const stdout of pieces(status["out-data"])) yield { stdout, stderr: nothing };
  for (const stderr of pieces(status["err-data"])) yield { stdout: nothing, stderr };
  yield { stdout: nothing, stderr: nothing, exitCode: status.exitcode ?? 128 + (status.signal ?? 0) };
}

/** qemu-ga gives up to 16 MiB at once, more than a message may hold. */
function* pieces(base64 = ""): Generator<Buffer> {
  const bytes = Buffer.from(base64, "base64");
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}
