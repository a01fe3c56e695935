import { setTimeout as sleep } from "node:timers/promises";
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { Heartbeat } from "#contracts/host/v1/agent";

const gib = 2 ** 30;
const intervalMs = 2_000;
const slots = 100;

/** 64 CPUs, 256 GiB and 4 TiB each, in ten racks; the uids are of workloads that have files there. */
export function simulatedHeartbeat(index: number, workloads: readonly string[]): Heartbeat {
  return Heartbeat.fromPartial({
    ...{ host: `hosts/h-${index}`, hostUid: `host-${index}`, bootId: `boot-${index}`, agentVersion: "1" },
    ...{ agentAddress: `10.0.${index >> 8}.${index & 255}:7071`, labels: { rack: `r-${index % 10}` } },
    ...{ cpus: 64, memoryBytes: 256 * gib, diskBytes: 4_096 * gib, capabilities: ["docker", "qemu"] },
    workloads: [...workloads],
  });
}

export interface HeartbeatLoad extends Disposable {
  /** How many were sent, and how many of them answered. */
  readonly counts: { sent: number; answered: number };
}

/** Every host's heartbeat each 2 s, spread evenly; what it sends is made beforehand but for its number and time. */
export function beatAll(nats: NatsConnection, heartbeats: readonly Heartbeat[]): HeartbeatLoad {
  const counts = { sent: 0, answered: 0 };
  const reply = createInbox();
  const answers = nats.subscribe(reply, {
    // Where nobody listens yet the server says so, in an empty message.
    callback: (_error, { data }) => void (data.length > 0 && counts.answered++),
  });
  const parts = heartbeats.map((heartbeat) => {
    const text = JSON.stringify(Heartbeat.toJSON(heartbeat));
    return { subject: `hb.host.v1.${heartbeat.host.slice("hosts/".length)}`, text: text.slice(0, -1) };
  });
  let slot = 0;
  const timer = setInterval(() => {
    const time = new Date().toISOString();
    for (let index = slot % slots; index < parts.length; index += slots) {
      const { subject = "", text = "" } = parts[index] ?? {};
      nats.publish(subject, `${text},"time":"${time}","sequence":"${1 + Math.floor(slot / slots)}"}`, { reply });
      counts.sent++;
    }
    slot++;
  }, intervalMs / slots);
  return {
    counts,
    [Symbol.dispose]() {
      clearInterval(timer);
      answers.unsubscribe();
    },
  };
}

/** Waits until nearly all heartbeats of an interval were answered. */
export async function untilAnswered({ counts }: HeartbeatLoad): Promise<void> {
  for (const end = performance.now() + 120_000; performance.now() < end; ) {
    const before = { ...counts };
    await sleep(intervalMs);
    if (counts.answered - before.answered > 0.95 * (counts.sent - before.sent)) return;
  }
  throw new Error("the hosts' heartbeats were not answered in time");
}
