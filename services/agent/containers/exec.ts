import {
  ContainerState,
  type ExecContainerRequest,
  type ExecContainerResponse,
} from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { ContainerEngine, ExecSession } from "../container-engine.ts";
import type { Containers } from "./containers.ts";
import { inItsName } from "./in-its-name.ts";

export interface ExecDeps {
  readonly engine: Pick<ContainerEngine, "exec">;
  readonly containers: Containers;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const NOTHING = Buffer.alloc(0);
const DEFAULT_SIZE = { rows: 24, columns: 80 };

/** Runs a command in a container: input and sizes come in, output goes out, the last answer has the exit code. */
export async function* execInContainer(
  { engine, containers, logger, signal }: ExecDeps,
  requests: AsyncIterable<ExecContainerRequest>,
): AsyncGenerator<ExecContainerResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const { first, start } = await firstOf(incoming);
  const container = containers.get(start.name);
  if (container.status.state !== ContainerState.RUNNING) {
    throw new StillpointError("CONTAINER_STATE", `${container.name} does not run; a command needs it to`);
  }
  const { command, env, user, workingDir, terminal, size } = start;
  const session = await engine.exec(container.uid, {
    ...{ command, env, user, workingDir, input: true },
    terminal: terminal ? (size ?? DEFAULT_SIZE) : undefined,
  });
  await using _ended = { [Symbol.asyncDispose]: () => endUnlessOver(session, logger) };
  const feeding = feed(session, first, incoming);
  feeding.catch((error: unknown) => logger.debug({ err: error }, "the caller of a command has hung up"));
  const hangUp = () => void endUnlessOver(session, logger);
  signal.addEventListener("abort", hangUp, { once: true });
  try {
    for await (const { stream, bytes } of session.output) {
      yield stream === "stdout" ? { stdout: bytes, stderr: NOTHING } : { stdout: NOTHING, stderr: bytes };
    }
  } catch (error) {
    signal.throwIfAborted(); // its output was cut off for that
    throw inItsName(error, container.uid, container.name);
  } finally {
    signal.removeEventListener("abort", hangUp);
  }
  signal.throwIfAborted();
  yield { stdout: NOTHING, stderr: NOTHING, exitCode: await session.exitCode() };
}

async function firstOf(incoming: AsyncIterator<ExecContainerRequest>) {
  const first = await incoming.next();
  const start = first.done === true ? undefined : first.value.start;
  if (start !== undefined && start.command.length > 0) return { first: first.value, start };
  throw new StillpointError("ARGUMENT_INVALID", "the first message must say what to run");
}

async function feed(
  session: ExecSession,
  first: ExecContainerRequest,
  rest: AsyncIterator<ExecContainerRequest>,
): Promise<void> {
  let message: IteratorResult<ExecContainerRequest> = { done: false, value: first };
  let isOpen = true;
  const close = () => {
    if (isOpen) session.closeInput();
    isOpen = false;
  };
  try {
    for (; message.done !== true; message = await rest.next()) {
      const { stdin, stdinClosed, resize } = message.value;
      if (resize !== undefined) await session.resize(resize);
      if (isOpen && stdin.length > 0) await session.write(stdin);
      if (stdinClosed) close();
    }
  } finally {
    close();
  }
}

async function endUnlessOver(session: ExecSession, logger: Logger): Promise<void> {
  await session.end().catch((error: unknown) => logger.warn({ err: error }, "a command may run on in its container"));
}
