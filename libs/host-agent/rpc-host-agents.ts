import { HostAgentDefinition, type StepResult, type Workload } from "#contracts/host/v1/agent";
import { type Clock, systemClock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { createRpcClient } from "#libs/rpc";
import type { AgentAction, AgentClient, HostAgents, StepContext, WorkloadOnHost } from "./host-agents.ts";
import { type AddressOf, identityOf, isAway, unreachable } from "./reach-agent.ts";

export interface HostAgentsDeps {
  readonly addressOf: AddressOf;
  readonly clock?: Clock;
  /** How long an agent may be away before a step gives up; default 15,000 ms; the runner of operations tries again after that. */
  readonly patienceMs?: number;
  readonly dial?: (address: string, host: string) => AgentClient;
}

/** An agent tells of a running step at least every 2 s; silence for longer than this means that it is gone. */
const silenceMs = 10_000;
const rememberedFences = 1_000;
const firstPauseMs = 100;
const longestPauseMs = 2_000;

/** The agents over gRPC. */
export function createHostAgents(deps: HostAgentsDeps): HostAgents {
  const { addressOf, clock = systemClock, patienceMs = 15_000, dial = dialByRpc } = deps;
  const fences = new Fences();
  const clients = new Map<string, AgentClient>();
  const clientOf = async (host: string) => {
    const address = await addressOf(host);
    // A host that has got another's old address must be told from it.
    const key = `${host} ${address}`;
    const client = clients.get(key) ?? dial(address, host);
    clients.set(key, client);
    return client;
  };

  return {
    runStep: (context, at, step, action) =>
      patiently({ clock, patienceMs, signal: context.signal, host: at.host }, async (heard) => {
        const client = await clientOf(at.host);
        await fences.raise(client, context, at);
        return runOnce(client, listening(context, heard), at, step, action);
      }),

    settle: ({ operationId, epoch, signal }, { host, uid }) =>
      patiently({ clock, patienceMs, signal, host }, async () => {
        const client = await clientOf(host);
        return client.fence({ uid, epoch, operation: operationId }, { signal });
      }),

    getWorkload: ({ host, uid }, signal) =>
      patiently({ clock, patienceMs, signal, host }, async () => {
        const client = await clientOf(host);
        return findWorkload(client, uid, signal);
      }),

    inspectReadiness: ({ host, uid }, signal) =>
      patiently({ clock, patienceMs, signal, host }, async () => {
        const client = await clientOf(host);
        return client.inspectReadiness({ uid }, { signal });
      }),

    async *exec({ host, uid }, request, options) {
      const client = await clientOf(host);
      try {
        yield* client.exec({ ...request, uid }, options);
      } catch (error) {
        // The agent speaks of the command's own time, in which it did answer.
        throw isStillpointError(error, "DEADLINE_EXCEEDED") ? error : unreachable(host, error);
      }
    },

    close() {
      for (const client of clients.values()) client.close();
      clients.clear();
    },
  };
}

async function findWorkload(client: AgentClient, uid: string, signal: AbortSignal): Promise<Workload | undefined> {
  try {
    return await client.getWorkload({ uid }, { signal });
  } catch (error) {
    if (isStillpointError(error, "WORKLOAD_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** With TLS the other side must prove that it is this host; its address says nothing. */
function dialByRpc(address: string, host: string): AgentClient {
  return createRpcClient(HostAgentDefinition, address, { peer: identityOf(host) });
}

/** Remembers which claims have fenced which workload. The agent keeps a fence on disk, so once for each claim is enough. */
class Fences {
  readonly #raised = new Map<string, Promise<unknown>>();

  async raise(client: AgentClient, { operationId, epoch, signal }: StepContext, { host, uid }: WorkloadOnHost) {
    const key = [host, uid, operationId, epoch].join(" ");
    const known = this.#raised.get(key);
    if (known !== undefined) return void (await known);
    const fence = client.fence({ uid, epoch, operation: operationId }, { signal });
    this.#remember(key, fence);
    try {
      await fence;
    } catch (error) {
      this.#raised.delete(key);
      throw error;
    }
  }

  #remember(key: string, fence: Promise<unknown>): void {
    this.#raised.set(key, fence);
    const [oldest] = this.#raised.keys();
    if (this.#raised.size > rememberedFences && oldest !== undefined) this.#raised.delete(oldest);
  }
}

async function runOnce(
  client: AgentClient,
  { operationId, epoch, signal, progress }: StepContext,
  { host, uid }: WorkloadOnHost,
  step: string,
  action: AgentAction,
): Promise<StepResult> {
  const request = { uid, epoch, operation: operationId, step, action };
  for await (const { update } of client.runStep(request, { signal, idleTimeoutMs: silenceMs })) {
    if (update?.$case === "result") return update.value;
    if (update?.$case === "progress") progress(update.value);
  }
  throw new StillpointError("HOST_UNREACHABLE", `the agent on ${host} ended step ${step} without an answer`);
}

interface Patience {
  readonly clock: Clock;
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  readonly host: string;
}

/**
 * Tries again while the agent is away; the step itself is joined or answered from the agent's journal.
 * Patience is counted from when the agent was last heard, so that a long step does not use it up.
 */
async function patiently<Result>(
  { clock, patienceMs, signal, host }: Patience,
  attempt: (heard: () => void) => Promise<Result>,
): Promise<Result> {
  let heardMs = clock.monotonicMs();
  let pauseMs = firstPauseMs;
  const heard = () => {
    heardMs = clock.monotonicMs();
    pauseMs = firstPauseMs;
  };
  for (;;) {
    try {
      return await attempt(heard);
    } catch (error) {
      signal.throwIfAborted();
      if (!isAway(error)) throw error;
      if (clock.monotonicMs() - heardMs >= patienceMs) throw unreachable(host, error);
    }
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
}

function listening(context: StepContext, heard: () => void): StepContext {
  const { operationId, epoch, signal } = context;
  const progress: StepContext["progress"] = (update) => {
    heard();
    context.progress(update);
  };
  return { operationId, epoch, signal, progress };
}
