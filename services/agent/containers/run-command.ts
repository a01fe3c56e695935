import { ExecContainerRequest } from "#contracts/container/v1/container";
import type { ExecRequest, ExecResponse } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { type ExecDeps, execInContainer } from "./exec.ts";

const DEFAULT_SECONDS = 60;
const LONGEST_SECONDS = 3_600;

/** Runs a command as one in a guest is run: all its input at once, and ended when its time is up. */
export async function* runCommand(
  deps: ExecDeps,
  { uid, command, stdin, timeoutSeconds }: ExecRequest,
): AsyncGenerator<ExecResponse> {
  const seconds = Math.min(timeoutSeconds || DEFAULT_SECONDS, LONGEST_SECONDS);
  const timeout = AbortSignal.timeout(seconds * 1_000);
  const signal = AbortSignal.any([deps.signal, timeout]);
  async function* requests() {
    yield ExecContainerRequest.fromPartial({ start: { name: uid, command }, stdin, stdinClosed: true });
  }
  try {
    yield* execInContainer({ ...deps, signal }, requests());
  } catch (error) {
    if (!timeout.aborted || deps.signal.aborted) throw error;
    throw new StillpointError("DEADLINE_EXCEEDED", `${command[0]} did not end in ${seconds} s`, {
      cause: error,
      help: "It was ended; pass a longer time limit.",
    });
  }
}
