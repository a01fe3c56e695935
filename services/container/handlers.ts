import { Container, type ContainersServiceImplementation } from "#contracts/container/v1/container";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { parseProject } from "#libs/names";
import { type Json, type RecordStore, type RecordView, readPage, type StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import {
  type AcceptDeps,
  type AcceptRecoveryDeps,
  acceptAction,
  acceptDelete,
  acceptRecovery,
  findWorkload,
  type LostDeps,
  markLost,
  type Readiness,
  watchWorkloads,
} from "#libs/workloads";
import { acceptCreate, type CreateDeps } from "./accept-create.ts";
import { containerKind } from "./container-kind.ts";
import { withoutSecrets } from "./container-record.ts";
import { signalNamed } from "./domain/signals.ts";
import { execInContainer, openExec, readLogs, readStats, type StreamDeps } from "./streams.ts";
import { type UpdateDeps, updateContainer } from "./update.ts";

export interface ContainerDeps extends UpdateDeps, CreateDeps, StreamDeps, AcceptRecoveryDeps<Container> {
  readonly records: RecordStore<Container>;
  readonly clock: CreateDeps["clock"];
  readonly operations: UpdateDeps["operations"] &
    LostDeps<Container>["operations"] &
    AcceptRecoveryDeps<Container>["operations"];
  readonly view: RecordView<Container>;
  readonly readiness: Readiness<Container>;
}

const defaultStopSeconds = 10;
const longestStopSeconds = 3_600;

/** A container's life as its users ask for it: each method authorises, checks, and accepts a job or answers at once. */
export function containerHandlers(deps: ContainerDeps): ContainersServiceImplementation<CallScope> {
  const { view } = deps;
  const show = (stored: StoredRecord<Container>) => withoutSecrets(deps.readiness.show(stored));
  return {
    async createContainer(request, call) {
      authorise(call.principal, "create", request.parent);
      return acceptCreate(deps, request, call);
    },

    async getContainer({ name }, { principal }) {
      authorise(principal, "get", name);
      return show(await findWorkload(deps, name));
    },

    async listContainers(request, { principal, signal }) {
      const { parent } = request;
      authorise(principal, "list", parent);
      parseProject(parent);
      const options = { prefix: `${parent}/containers/`, show, codec: Container, signal };
      const { items, ...page } = await readPage(view, request, options);
      return { containers: items, ...page };
    },

    async *watchContainers({ parent, since }, { principal, signal }) {
      authorise(principal, "watch", parent);
      parseProject(parent);
      const options = { prefix: `${parent}/containers/`, since, signal, show };
      for await (const { kind, workload, token } of watchWorkloads(containerKind, view, options)) {
        yield { kind, container: workload, token };
      }
    },

    ...lifeHandlers(deps),

    async updateContainer(request, call) {
      authorise(call.principal, "update", request.name);
      return show(await updateContainer(deps, request, call));
    },

    async recoverContainer(request, call) {
      authorise(call.principal, "update", request.name);
      return acceptRecovery(deps, call, request);
    },

    async markContainerLost(request, { principal }) {
      authorise(principal, "delete", request.name);
      return show(await markLost(deps, request));
    },

    ...streamHandlers(deps),
  };
}

type LifeMethod = "startContainer" | "stopContainer" | "killContainer" | "moveContainer" | "deleteContainer";

/** What brings a container into another state, or removes it. */
function lifeHandlers(deps: AcceptDeps<Container>): Pick<ContainersServiceImplementation<CallScope>, LifeMethod> {
  return {
    async startContainer(request, call) {
      authorise(call.principal, "start", request.name);
      return acceptAction(deps, call, { action: "start", request });
    },

    async stopContainer(request, call) {
      authorise(call.principal, "stop", request.name);
      return acceptAction(deps, call, { action: "stop", request, input: stopInput(request) });
    },

    async killContainer(request, call) {
      authorise(call.principal, "stop", request.name);
      const signal = signalNamed(request.signal);
      if (signal !== undefined) return acceptAction(deps, call, { action: "kill", request, input: { signal } });
      throw new StillpointError("ARGUMENT_INVALID", `${JSON.stringify(request.signal.slice(0, 40))} is no signal`, {
        help: "Write a name such as SIGTERM or HUP.",
      });
    },

    async moveContainer(request, call) {
      authorise(call.principal, "update", request.name);
      const input = { ...stopInput(request), staysStopped: request.stayStopped };
      return acceptAction(deps, call, { action: "move", request, input });
    },

    async deleteContainer(request, call) {
      authorise(call.principal, "delete", request.name);
      return acceptDelete(deps, call, request);
    },
  };
}

/** 0 means the default, -1 none. */
function stopInput({ timeoutSeconds: asked }: { readonly timeoutSeconds: number }): Json {
  if (asked < -1 || asked > longestStopSeconds) {
    throw new StillpointError("ARGUMENT_INVALID", `timeout_seconds must be -1 to ${longestStopSeconds}, not ${asked}`);
  }
  return { timeoutSeconds: asked === 0 ? defaultStopSeconds : Math.max(0, asked) };
}

type StreamMethod = "getContainerLogs" | "execContainer" | "getContainerStats";

/** What is passed on between the caller and the agent of the container's host. */
function streamHandlers(deps: StreamDeps): Pick<ContainersServiceImplementation<CallScope>, StreamMethod> {
  return {
    async *getContainerLogs(request, { principal, signal }) {
      authorise(principal, "get", request.name);
      yield* readLogs(deps, request, signal);
    },

    async *execContainer(messages, { principal, signal }) {
      const asked = await openExec(messages);
      authorise(principal, "exec", asked.start.name);
      yield* execInContainer(deps, asked, signal);
    },

    async *getContainerStats(request, { principal, signal }) {
      authorise(principal, "get", request.name);
      yield* readStats(deps, request, signal);
    },
  };
}
