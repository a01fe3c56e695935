import { type Host, HostState, type HostsServiceImplementation } from "#contracts/scheduler/v1/scheduler";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { parseHostName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { RecordChange, RecordStore } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { acceptDrain } from "../drain/accept-drain.ts";
import { type HostRecords, hostToShow } from "./host-records.ts";
import type { HostRegistry } from "./host-registry.ts";

export interface HostsDeps {
  readonly records: HostRecords;
  readonly store: RecordStore<Host>;
  readonly registry: HostRegistry;
  readonly operations: Pick<Operations, "accept">;
}

/** Hosts as operators see them. */
export function hostsHandlers({
  records,
  store,
  registry,
  operations,
}: HostsDeps): HostsServiceImplementation<CallScope> {
  const show = (host: Host) => hostToShow(records, host, registry.heartbeatTime(host.name));

  const setCordoned = async (name: string, cordoned: boolean): Promise<Host> => {
    parseHostName(name);
    const stored = await store.modify(name, ({ body }) => cordonChange(body, cordoned));
    if (stored === undefined) throw notFound(name);
    await records.hosts.waitFor(stored.version);
    return show(stored.body);
  };

  return {
    async getHost({ name }, { principal }) {
      authorise(principal, "get", name);
      parseHostName(name);
      const host = records.hosts.get(name);
      if (host === undefined) throw notFound(name);
      return show(host.body);
    },

    async listHosts(_request, { principal }) {
      authorise(principal, "list", "hosts/-");
      return { hosts: records.hosts.list().map(({ body }) => show(body)) };
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
