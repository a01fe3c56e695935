import type { JetStreamManager } from "@nats-io/jetstream";
import type { AdminServiceImplementation } from "#contracts/operation/v1/admin";
import type { Principal } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Streams } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { exportStreams } from "./export-streams.ts";

export interface AdminDeps {
  readonly streams: Streams;
  readonly manager: JetStreamManager;
  /** Of the server that is connected. */
  readonly natsVersion: () => string;
  readonly clock: Clock;
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
  };
}

function requireAdmin({ kind }: Principal): void {
  if (kind === "local" || kind === "admin") return;
  throw new StillpointError("PERMISSION_DENIED", "the installation was not found");
}
