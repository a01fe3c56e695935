import { Heartbeat } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import type { Capacity } from "../capabilities.ts";
import type { HostLease } from "./host-lease.ts";

const HEARTBEAT_MS = 2_000;

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
  /** Until when the certificate is valid by which it connects; undefined, or left out, without TLS. */
  certificateExpireTime?(): Date | undefined;
  workloads(): string[];
  readonly lease: Pick<HostLease, "report" | "sending" | "epoch" | "bootId">;
  /** Core NATS: not stored. Answers are heard elsewhere, whenever they come. */
  send(subject: string, json: string): void;
  /** Resolves when the next one is not to wait: the connection has come back, or there is something new to tell. */
  urged(): Promise<void>;
  readonly clock: Clock;
}

/** Says that this host lives, at once, every 2 s and when it can again, until the signal. */
export async function beat(deps: HeartbeatDeps, signal: AbortSignal): Promise<void> {
  const bell = urges(deps, signal);
  for (let sequence = 1; !signal.aborted; sequence++) {
    const report = await deps.lease.report();
    const message = { ...heartbeat(deps), ...report, sequence };
    // The lease counts from here: whatever keeps the message back from here on only shortens it.
    deps.lease.sending(sequence, report.held);
    deps.send(`hb.host.v1.${deps.host}`, JSON.stringify(Heartbeat.toJSON(message)));
    const pause = new AbortController();
    const passed = deps.clock.sleep(HEARTBEAT_MS, AbortSignal.any([signal, pause.signal])).catch(() => undefined);
    await bell.heardBefore(passed);
    pause.abort();
  }
}

/** One who waits for what urges, over all heartbeats: each who waited anew would stay in memory until it comes. */
function urges({ urged }: Pick<HeartbeatDeps, "urged">, signal: AbortSignal) {
  let ring: () => void = () => undefined;
  const listen = async () => {
    while (!signal.aborted) {
      await urged();
      ring();
    }
  };
  void listen();
  return {
    /** Resolves at the next urge, or when `passed` does. */
    heardBefore: (passed: Promise<void>) =>
      new Promise<void>((resolve) => {
        ring = resolve;
        void passed.then(resolve);
      }),
  };
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
    certificateExpireTime: deps.certificateExpireTime?.(),
    bootId: deps.lease.bootId,
    ownerEpoch: deps.lease.epoch,
  });
}
