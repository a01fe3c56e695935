import type { JetStreamManager } from "@nats-io/jetstream";
import { type AdminServiceImplementation, Quarantined } from "#contracts/operation/v1/admin";
import type { Principal } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { Operations } from "#libs/operations";
import type { Json, RecordStore, Streams } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { acceptDiscard } from "../rebuild/discard.ts";
import { readRecords } from "../rebuild/gather.ts";
import { isLive } from "../rebuild/known.ts";
import { type RebuildDeps, rebuild } from "../rebuild/rebuild.ts";
import { exportStreams } from "./export-streams.ts";

export interface AdminDeps extends RebuildDeps {
  readonly streams: Streams;
  readonly manager: JetStreamManager;
  /** Of the server that is connected. */
  readonly natsVersion: () => string;
  /** Records of any kind. */
  readonly store: RecordStore<Json>;
  readonly operations: Operations;
}

/** For administrators: not for services, which may do all else. */
export function adminHandlers(deps: AdminDeps): AdminServiceImplementation<CallScope> {
  const { streams, manager, natsVersion, clock } = deps;
  return {
    async *backup({ withEvents }, { principal, signal }) {
      requireAdmin(principal);
      const all = [
        { name: "REC", filter: "rec.>", log: streams.rec },
        { name: "OPS", filter: "op.>", log: streams.ops },
        ...(withEvents ? [{ name: "EVT", filter: "evt.>", log: streams.evt }] : []),
      ];
      yield* exportStreams({ manager, natsVersion: natsVersion(), clock, signal }, all);
    },

    async *rebuild(requests, { principal, signal }) {
      requireAdmin(principal);
      yield* rebuild(deps, requests, { principal: principal.name, signal });
    },

    async listQuarantined(_request, { principal }) {
      requireAdmin(principal);
      const records = [...(await readRecords({ records: streams.rec })).values()];
      const aside = records.filter((record) => isLive(record) && /^hosts\/[^/]+\/quarantine\//.test(record.name));
      return { workloads: aside.map(({ body }) => Quarantined.fromJSON(body)) };
    },

    async discardQuarantined(request, call) {
      requireAdmin(call.principal);
      return await acceptDiscard(deps, request, call);
    },
  };
}

function requireAdmin({ kind }: Principal): void {
  if (kind === "local" || kind === "admin") return;
  throw new StillpointError("PERMISSION_DENIED", "the installation was not found");
}
