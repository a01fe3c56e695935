import type { Container } from "#contracts/container/v1/container";
import type { ContainerStatus, Workload } from "#contracts/host/v1/agent";
import { type Folded, leasePaused, workloadEvent } from "#libs/workloads";
import { happenings, reasonOf, type Status } from "./domain/status.ts";

/** Something that happened to a container. */
export const containerEvent = workloadEvent.bind(undefined, { word: "container" });

/** The container with what its host says of it. `reason`: why it is so, where the status does not tell. */
export function foldWorkload(
  container: Container,
  { container: status, leaseHoldTime }: Workload,
  reason = "",
): Folded<Container> {
  if (status === undefined) return { body: container, events: [] };
  return foldStatus(container, status, leaseHoldTime === undefined ? reason : leasePaused);
}

/** The container as an agent saw it. The events are what has happened since it was seen before, in that order. */
export function foldStatus(container: Container, status: ContainerStatus, reason = ""): Folded<Container> {
  const { state, lastExit, restarts, health } = status;
  const after: Status = { ...status, lastExit: lastExit ?? container.lastExit };
  const events = happenings(container, after).map(({ happened, data, time }) => ({
    ...containerEvent(happened, container, { host: container.host, ...data }),
    ...(time === undefined ? {} : { time: time.toISOString() }),
  }));
  const body: Container = {
    ...container,
    ...{ state, restarts, health },
    stateReason: reasonOf(after) || reason,
    lastExit: lastExit ?? container.lastExit,
    startTime: status.startTime ?? container.startTime,
  };
  return { body, events };
}

/**
 * The container as it is shown: secrets by their names alone. It is what every answer of the API goes through; only the
 * agent of its host is ever given the values.
 */
export function withoutSecrets(container: Container): Container {
  const { spec } = container;
  if (spec === undefined) return container;
  const secrets = spec.secrets.map(({ name }) => ({ name, value: new Uint8Array() }));
  return { ...container, spec: { ...spec, secrets } };
}
