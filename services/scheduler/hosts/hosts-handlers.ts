import { Host, HostState, type HostsServiceImplementation } from "#contracts/scheduler/v1/scheduler";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { parseHostName } from "#libs/names";
import type { Operations } from "#libs/operations";
import { type RecordChange, readPage, type StoredRecord } from "#libs/records";
import { type CallScope, removedOnce } from "#libs/rpc";
import { acceptDrain } from "../drain/accept-drain.ts";
import type { Joining } from "../join/start-joining.ts";
import type { Ownership } from "../owners/ownership.ts";
import { inForce } from "./capacity.ts";
import { type ForgetDeps, forgetHost } from "./forget-host.ts";
import { type HostRecords, hostToShow, reservationsToShow } from "./host-records.ts";
import type { HostRegistry } from "./host-registry.ts";
import { type UpdateHostDeps, updateHost } from "./update-host.ts";

export interface HostsDeps extends UpdateHostDeps, ForgetDeps {
  readonly records: HostRecords;
  readonly registry: HostRegistry;
  readonly joining: Joining;
  readonly operations: Pick<Operations, "accept">;
  readonly ownership: Ownership;
}

/** Hosts as operators see them. */
export function hostsHandlers(deps: HostsDeps): HostsServiceImplementation<CallScope> {
  const { records, store, operations } = deps;
  const show = (host: Host) => inFull(deps, host);

  const setCordoned = async (name: string, cordoned: boolean): Promise<Host> => {
    parseHostName(name);
    return written(name, await store.modify(name, ({ body }) => cordonChange(body, cordoned)));
  };

  const written = async (name: string, stored: StoredRecord<Host> | undefined): Promise<Host> => {
    if (stored === undefined) throw notFound(name);
    await records.hosts.waitFor(stored.version);
    return show(stored.body);
  };

  return {
    async getHost({ name }, { principal, signal }) {
      authorise(principal, "get", name);
      parseHostName(name);
      await records.hosts.catchUp(signal);
      const host = records.hosts.get(name);
      if (host === undefined) throw notFound(name);
      return show(host.body);
    },

    async listHosts(request, { principal, signal }) {
      authorise(principal, "list", "hosts/-");
      await records.hosts.catchUp(signal);
      const toItem = request.withReservations ? inFull : briefly;
      const options = { prefix: "hosts/", codec: Host, signal };
      const { items, nextPageToken } = await readPage(records.hosts, request, {
        ...options,
        show: ({ body }) => toItem(deps, body),
      });
      return { hosts: items, nextPageToken };
    },

    async cordonHost({ name }, { principal }) {
      authorise(principal, "update", name);
      return setCordoned(name, true);
    },

    async uncordonHost({ name }, { principal }) {
      authorise(principal, "update", name);
      return setCordoned(name, false);
    },

    async drainHost(request, call) {
      authorise(call.principal, "update", request.name);
      return acceptDrain(operations, request, call);
    },

    async updateHost(request, { principal }) {
      authorise(principal, "update", request.name);
      return written(request.name, await updateHost(deps, request));
    },

    ...comingAndGoing(deps),
  };
}

/** A host without its reservations. */
function briefly({ records, registry, ownership, limits }: HostsDeps, host: Host): Host {
  return {
    ...hostToShow(records, host, registry.heartbeatTime(host.name)),
    ...inForce(host, limits),
    owner: ownership.ownerOf(host.name)?.name ?? "",
    ownerEpoch: ownership.epoch,
  };
}

function inFull(deps: HostsDeps, host: Host): Host {
  return { ...briefly(deps, host), reservations: reservationsToShow(deps.records, host.name) };
}

/** How machines become hosts, and are no more. */
function comingAndGoing(
  deps: HostsDeps,
): Pick<HostsServiceImplementation<CallScope>, "createJoinToken" | "forgetHost"> {
  return {
    async createJoinToken(request, { principal }) {
      authorise(principal, "create", "hosts/-");
      return deps.joining.tokens.create(deps.joining.authority(), request);
    },

    async forgetHost(request, call) {
      authorise(call.principal, "delete", request.name);
      await removedOnce(call, "HOST_NOT_FOUND", () => forgetHost(deps, request));
      return {};
    },
  };
}

/** Uncordoning ends a drain, too; cordoning leaves it alone. */
function cordonChange(host: Host, cordoned: boolean): RecordChange<Host> | undefined {
  if (host.cordoned === cordoned) return undefined;
  const calm = cordoned ? HostState.CORDONED : HostState.READY;
  const state = host.state === HostState.DOWN ? host.state : calm;
  const event = { aggregate: "host", happened: cordoned ? "cordoned" : "uncordoned", data: {} };
  return { body: { ...host, cordoned, draining: false, state }, events: [event] };
}

const notFound = (name: string) => new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
