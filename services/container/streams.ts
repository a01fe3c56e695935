import type {
  Container,
  ContainerLogChunk,
  ContainerStats,
  ExecContainerRequest,
  ExecContainerResponse,
  ExecStart,
  GetContainerLogsRequest,
  GetContainerStatsRequest,
} from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { ContainerAgents } from "#libs/host-agent";
import type { RecordStore } from "#libs/records";
import { commandProblems } from "#libs/spec-checks";
import { findWorkload, refuseProblems, refuseUnless } from "#libs/workloads";
import { containerKind as kind } from "./container-kind.ts";
import { envProblems } from "./domain/validate-environment.ts";

export interface StreamDeps {
  readonly records: RecordStore<Container>;
  readonly containerAgents: ContainerAgents;
}

/** What the container printed, as its host has it. */
export async function* readLogs(
  deps: StreamDeps,
  request: GetContainerLogsRequest,
  signal: AbortSignal,
): AsyncGenerator<ContainerLogChunk> {
  if (request.tail < 0) throw new StillpointError("ARGUMENT_INVALID", "tail is below 0");
  yield* deps.containerAgents.logs(await onHost(deps, request.name, "logs"), request, signal);
}

/** What the container uses now. */
export async function* readStats(
  deps: StreamDeps,
  request: GetContainerStatsRequest,
  signal: AbortSignal,
): AsyncGenerator<ContainerStats> {
  yield* deps.containerAgents.stats(await onHost(deps, request.name, "stats"), request, signal);
}

/** The container and command of a call, which its first message names; the others are passed on as they come. */
export async function openExec(messages: AsyncIterable<ExecContainerRequest>): Promise<{
  readonly start: ExecStart;
  readonly messages: AsyncIterable<ExecContainerRequest>;
}> {
  const iterator = messages[Symbol.asyncIterator]();
  const { value: first } = await iterator.next();
  const start = (first as ExecContainerRequest | undefined)?.start;
  if (start === undefined) throw new StillpointError("ARGUMENT_INVALID", "start is missing in the first message");
  const rest = { [Symbol.asyncIterator]: () => iterator };
  return { start, messages: again(first, rest) };
}

async function* again<Message>(first: Message, rest: AsyncIterable<Message>): AsyncGenerator<Message> {
  yield first;
  yield* rest;
}

/** Runs a command in the container; the last message has its exit code. */
export async function* execInContainer(
  deps: StreamDeps,
  { start, messages }: Awaited<ReturnType<typeof openExec>>,
  signal: AbortSignal,
): AsyncGenerator<ExecContainerResponse> {
  const { name, command, env } = start;
  if (command.length === 0) throw new StillpointError("ARGUMENT_INVALID", "start.command is missing");
  const limits = { maxWords: 256, maxBytes: 128 * 1024 };
  refuseProblems([...commandProblems("start.command", command, limits), ...envProblems("start.env", env)]);
  yield* deps.containerAgents.exec(await onHost(deps, name, "exec"), messages, signal);
}

/** Where the container is, if the action makes sense in the state that it is in. */
async function onHost({ records }: StreamDeps, name: string, action: string) {
  const stored = await findWorkload({ kind, records }, name);
  refuseUnless(kind, stored, action);
  const { host, uid } = stored.body;
  return { host, uid };
}
