import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { Observation } from "#contracts/host/v1/agent";
import { hostInTest } from "./stand-ins.ts";

/** Publishes what an agent saw of VMs or containers, as agents do: each with a higher sequence than the one before. */
export function observer(nats: NatsConnection, word: string): (observation: Partial<Observation>) => Promise<void> {
  let sequence = 0;
  return async (observation) => {
    const whole = Observation.fromPartial({ host: hostInTest, time: new Date(), sequence: ++sequence, ...observation });
    await jetstream(nats).publish(`obs.${word}.${whole.uid}`, JSON.stringify(Observation.toJSON(whole)));
  };
}
