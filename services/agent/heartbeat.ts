import { Heartbeat } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import type { Capacity } from "./capabilities.ts";

export const HEARTBEAT_MS = 2_000;

export interface HeartbeatDeps {
  /** The host's id, without "hosts/". */
  readonly host: string;
  readonly hostUid: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty for none. */
  readonly zone: string;
  readonly capacity: Capacity;
  /** What was probed, as it is now. */
  capabilities(): string[];
  readonly version: string;
  workloads(): string[];
  /** Core NATS: not stored, not acknowledged. */
  publish(subject: string, json: string): void;
  readonly clock: Clock;
}

/** Says that this host lives, at once and every 2 s, until the signal. */
export async function beat(deps: HeartbeatDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    deps.publish(`hb.host.v1.${deps.host}`, JSON.stringify(Heartbeat.toJSON(heartbeat(deps))));
    await deps.clock.sleep(HEARTBEAT_MS, signal).catch(() => undefined);
  }
}

function heartbeat({ host, hostUid, address, labels, zone, capacity, ...deps }: HeartbeatDeps): Heartbeat {
  return Heartbeat.fromPartial({
    host: `hosts/${host}`,
    hostUid,
    agentAddress: address,
    labels: { ...labels },
    zone,
    ...capacity,
    capabilities: deps.capabilities(),
    agentVersion: deps.version,
    workloads: deps.workloads(),
    time: deps.clock.now(),
  });
}
