import type { HeartbeatAck } from "#contracts/host/v1/agent";
import type { Log } from "#libs/records";
import type { HostRegistry } from "../../../services/scheduler/hosts/host-registry.ts";
import type { Membership } from "../../../services/scheduler/owners/membership.ts";
import { type Ownership, owns } from "../../../services/scheduler/owners/ownership.ts";
import type { Mutations } from "./mutations.ts";

export function mutatedLog(log: Log, { blindLedgers }: Mutations): Log {
  if (blindLedgers !== true) return log;
  return {
    read: (subject) => log.read(subject),
    newest: (filter) => log.newest(filter),
    lastSequence: () => log.lastSequence(),
    follow: (filter, options) => log.follow(filter, options),
    async append(subject, data, options) {
      if (!subject.endsWith(".ledger")) return await log.append(subject, data, options);
      const newest = await log.read(subject);
      return await log.append(subject, data, { ...options, expectedSequence: newest?.sequence ?? 0 });
    },
  };
}

export function mutatedRegistry(
  registry: HostRegistry,
  ownership: Ownership,
  { answersUnwritten }: Mutations,
): Pick<HostRegistry, "notice" | "heard"> {
  if (answersUnwritten !== true) return registry;
  return {
    notice: (host) => registry.notice(host),
    async heard(heartbeat) {
      void registry.heard(heartbeat).catch(() => undefined);
      return owns(ownership, heartbeat.host);
    },
  };
}

export function mutatedOwnership(membership: Membership, { downUnconfirmed }: Mutations): Ownership {
  if (downUnconfirmed !== true) return membership;
  return {
    get epoch() {
      return membership.epoch;
    },
    confirmedMs: Number.POSITIVE_INFINITY,
    ownedSinceMs: (host) => membership.ownedSinceMs(host),
    ownerOf: (host) => membership.ownerOf(host),
  };
}

export function mutatedAck(ack: HeartbeatAck, { noWords }: Mutations): HeartbeatAck {
  return noWords === true ? { ...ack, resumeUids: [], endUids: [] } : ack;
}
